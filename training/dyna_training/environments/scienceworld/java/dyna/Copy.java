package dyna;

import java.lang.reflect.Array;
import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import sun.reflect.ReflectionFactory;

/** Copies an object with everything that it leads to, but for what never changes. */
final class Copy {
  private static final Map<Class<?>, Plan> PLANS = new HashMap<>();
  private final IdentityHashMap<Object, Object> copies = new IdentityHashMap<>(1 << 15);
  private final ArrayDeque<Object> open = new ArrayDeque<>();

  /** How objects of a class are copied. */
  private static final class Plan {
    final boolean shared;
    final Constructor<?> constructor;
    final Field[] values;
    final Field[] references;

    Plan(Class<?> type) throws ReflectiveOperationException {
      shared = isShared(type);
      List<Field> plain = new ArrayList<>();
      List<Field> leading = new ArrayList<>();
      for (Class<?> part = shared ? null : type; part != null; part = part.getSuperclass()) {
        for (Field field : part.getDeclaredFields()) {
          if (!Modifier.isStatic(field.getModifiers())) {
            field.setAccessible(true);
            (field.getType().isPrimitive() ? plain : leading).add(field);
          }
        }
      }
      values = plain.toArray(new Field[0]);
      references = leading.toArray(new Field[0]);
      constructor = shared || type.isArray() ? null : bare(type);
    }

    /** Return a constructor that runs nothing of the class. */
    private static Constructor<?> bare(Class<?> type) throws ReflectiveOperationException {
      return ReflectionFactory.getReflectionFactory()
          .newConstructorForSerialization(type, Object.class.getDeclaredConstructor());
    }

    /** Whether objects of a class never change: texts, numbers, Scala's single objects, functions, definitions. */
    private static boolean isShared(Class<?> type) {
      String name = type.getName();
      return !type.isArray()
          && (name.startsWith("java.lang.") || name.startsWith("language.model.") || type.isHidden() || isSingle(type));
    }

    private static boolean isSingle(Class<?> type) {
      try {
        return type.getField("MODULE$").getType() == type;
      } catch (NoSuchFieldException error) {
        return false;
      }
    }
  }

  /** Return the copy. */
  Object of(Object root) throws ReflectiveOperationException {
    Object copy = copied(root);
    while (!open.isEmpty()) {
      Object original = open.pop();
      fill(original, copies.get(original));
    }
    return copy;
  }

  /** Return the copy of an object, which may be empty yet. */
  private Object copied(Object original) throws ReflectiveOperationException {
    if (original == null) {
      return null;
    }
    Class<?> type = original.getClass();
    Plan plan = plan(type);
    if (plan.shared) {
      return original;
    }
    Object copy = copies.get(original);
    if (copy == null) {
      copy = type.isArray()
          ? Array.newInstance(type.getComponentType(), Array.getLength(original))
          : plan.constructor.newInstance();
      copies.put(original, copy);
      open.push(original);
    }
    return copy;
  }

  private static Plan plan(Class<?> type) throws ReflectiveOperationException {
    Plan plan = PLANS.get(type);
    if (plan == null) {
      plan = new Plan(type);
      PLANS.put(type, plan);
    }
    return plan;
  }

  private void fill(Object original, Object copy) throws ReflectiveOperationException {
    if (original instanceof Object[]) {
      Object[] from = (Object[]) original;
      Object[] to = (Object[]) copy;
      for (int i = 0; i < from.length; i++) {
        to[i] = copied(from[i]);
      }
    } else if (original.getClass().isArray()) {
      System.arraycopy(original, 0, copy, 0, Array.getLength(original));
    } else {
      Plan plan = plan(original.getClass());
      for (Field field : plan.values) {
        field.set(copy, field.get(original));
      }
      for (Field field : plan.references) {
        field.set(copy, copied(field.get(original)));
      }
    }
  }
}
