package dyna;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Any number of ScienceWorld simulations in one virtual machine, each of which can be forked.
 *
 * <p>Requests come from standard input and are answered on standard output, see `main`; the program ends when its input
 * does. The simulator keeps its random numbers, its counter of identifiers and its simplifications in one place for the
 * whole machine; here each simulation has its own, which are put there before it goes on. All access to the simulator is
 * by reflection, so that this compiles without it.
 */
public final class Simulations {
  private final ClassLoader classes;
  private final Object loader;
  private final Object identifiers;
  private final Object simplifier;
  private final AtomicLong seed;
  private final Map<Integer, Simulation> simulations = new HashMap<>();
  private Simulation entered;
  private int last;

  /** A simulation: its world, and what the simulator keeps for the whole machine while it runs. */
  private static final class Simulation {
    final Object world;
    final String simplifications;
    long counter;
    long random;

    Simulation(Object world, String simplifications) {
      this.world = world;
      this.simplifications = simplifications;
    }
  }

  private Simulations(File jar) throws Exception {
    classes = new HashedLoader(jar.toURI().toURL());
    loader = classes.loadClass("scienceworld.runtime.pythonapi.PythonInterface").getConstructor().newInstance();
    identifiers = single("util.UniqueIdentifier$");
    simplifier = single("main.scala.scienceworld.runtime.SimplifierProcessor$");
    Field field = Random.class.getDeclaredField("seed");
    field.setAccessible(true);
    seed = (AtomicLong) field.get(call(single("scala.util.Random$"), "self"));
  }

  /**
   * Answer requests until there are no more.
   *
   * <p>A request is a number of texts: what to do, and with what. A text is its length in bytes and itself in UTF-8. The
   * answer is one byte, zero where it worked and one where it did not, and one text.
   *
   * @param arguments The simulator's jar.
   */
  public static void main(String[] arguments) throws Exception {
    DataInputStream in = new DataInputStream(new BufferedInputStream(System.in));
    DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out));
    System.setOut(new PrintStream(OutputStream.nullOutputStream())); // the simulator prints at every step
    Simulations simulations = new Simulations(new File(arguments[0]));
    while (true) {
      String[] request;
      try {
        request = read(in);
      } catch (EOFException end) {
        return;
      }
      try {
        write(out, 0, simulations.answer(request));
      } catch (Throwable error) {
        Throwable cause = error instanceof InvocationTargetException ? error.getCause() : error;
        write(out, 1, String.valueOf(cause));
      }
    }
  }

  private String answer(String[] request) throws Exception {
    switch (request[0]) {
      case "load":
        return load(request[1], Integer.parseInt(request[2]), request[3]);
      case "solve":
        return solve(request[1], Integer.parseInt(request[2]), request[3]);
      case "fork":
        return fork(named(request[1]));
      case "step":
        return step(named(request[1]), request[2]);
      case "ask":
        return ask(named(request[1]), request[2]);
      case "close":
        for (int i = 1; i < request.length; i++) {
          simulations.remove(Integer.parseInt(request[i]));
        }
        return String.valueOf(simulations.size());
      default:
        throw new IllegalArgumentException("unknown request " + request[0]);
    }
  }

  /** Begin a task; return the name of its simulation. */
  private String load(String task, int variation, String simplifications) throws Exception {
    start(task, variation, simplifications, false);
    Object world = call(call(loader, "agentInterface"), "get");
    entered = new Simulation(world, (String) call(world, "simplificationStr"));
    return name(entered);
  }

  /** Return the simulator's own solution of a task, one command a line. */
  private String solve(String task, int variation, String simplifications) throws Exception {
    start(task, variation, simplifications, true);
    return String.join("\n", (String[]) call(loader, "goldActionsStr"));
  }

  private void start(String task, int variation, String simplifications, boolean solve) throws Exception {
    leave();
    Method load = loader.getClass().getMethod("load", String.class, int.class, String.class, boolean.class);
    String error = (String) load.invoke(loader, task, variation, simplifications, solve);
    if (!error.isEmpty()) {
      throw new IllegalArgumentException(error);
    }
  }

  /** Return the name of an independent simulation in the same state. */
  private String fork(Simulation origin) throws Exception {
    if (entered == origin) {
      leave();
    }
    Simulation twin = new Simulation(new Copy().of(origin.world), origin.simplifications);
    twin.counter = origin.counter;
    twin.random = origin.random;
    return name(twin);
  }

  /** Execute a command; return score, from -1 to 1, whether the task is completed, and the observation. */
  private String step(Simulation simulation, String command) throws Exception {
    Object world = enter(simulation);
    Object result = world.getClass().getMethod("step", String.class).invoke(world, command);
    if ((Boolean) call(world, "isInErrorState")) { // it would call every task failed from now on
      throw new IllegalStateException("the simulator failed: " + call(world, "getErrorStateMessage"));
    }
    return call(result, "_2") + "\n" + call(result, "_3") + "\n" + call(result, "_1");
  }

  /** Answer a question, which changes nothing, although the simulator draws random numbers to find names for things. */
  private String ask(Simulation simulation, String question) throws Exception {
    Object world = enter(simulation);
    long before = seed.get();
    try {
      switch (question) {
        case "valid":
          return accessible(world) + "\n" + call(world, "getValidActionObjectCombinationsJSON");
        case "tree":
          return (String) call(call(world, "universe"), "toJSON");
        default:
          return (String) call(world, question);
      }
    } finally {
      seed.set(before);
    }
  }

  /** Return the identifiers of what commands can be about: what is in reach where the agent is, and what it carries. */
  private String accessible(Object world) throws Exception {
    Object agent = call(world, "agent");
    Object parser = single("scienceworld.input.InputParser$");
    Method collect = parser.getClass().getMethod("collectAccessibleObjects", classes.loadClass(HashedLoader.HASHED), boolean.class);
    StringBuilder found = new StringBuilder();
    for (Object root : new Object[] {call(call(agent, "getContainer"), "get"), agent}) {
      Object things = call(collect.invoke(parser, root, true), "iterator");
      while ((Boolean) call(things, "hasNext")) {
        found.append(call(call(things, "next"), "uuid")).append(' ');
      }
    }
    return found.toString();
  }

  private Object enter(Simulation simulation) throws Exception {
    if (entered != simulation) {
      leave();
      call(identifiers, "count_$eq", long.class, simulation.counter);
      seed.set(simulation.random);
      call(simplifier, "parseSimplificationStr", String.class, simulation.simplifications);
      entered = simulation;
    }
    return simulation.world;
  }

  private void leave() throws Exception {
    if (entered != null) {
      entered.counter = (Long) call(identifiers, "count");
      entered.random = seed.get();
      entered = null;
    }
  }

  private String name(Simulation simulation) {
    simulations.put(++last, simulation);
    return String.valueOf(last);
  }

  private Simulation named(String name) {
    Simulation found = simulations.get(Integer.parseInt(name));
    if (found == null) {
      throw new IllegalArgumentException("no simulation " + name);
    }
    return found;
  }

  private Object single(String type) throws ReflectiveOperationException {
    return classes.loadClass(type).getField("MODULE$").get(null);
  }

  private static Object call(Object target, String method) throws ReflectiveOperationException {
    return target.getClass().getMethod(method).invoke(target);
  }

  private static void call(Object target, String method, Class<?> type, Object argument)
      throws ReflectiveOperationException {
    target.getClass().getMethod(method, type).invoke(target, argument);
  }

  private static String[] read(DataInputStream in) throws IOException {
    String[] texts = new String[in.readInt()];
    for (int i = 0; i < texts.length; i++) {
      byte[] bytes = new byte[in.readInt()];
      in.readFully(bytes);
      texts[i] = new String(bytes, StandardCharsets.UTF_8);
    }
    return texts;
  }

  private static void write(DataOutputStream out, int failed, String text) throws IOException {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    out.writeByte(failed);
    out.writeInt(bytes.length);
    out.write(bytes);
    out.flush();
  }
}
