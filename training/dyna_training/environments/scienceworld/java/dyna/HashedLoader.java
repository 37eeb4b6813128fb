package dyna;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.net.URLClassLoader;

/**
 * Loads the simulator, and gives its objects the hash code that goes with how they are equal.
 *
 * <p>Objects of the simulator are equal where their ``uuid`` is, but they have the hash code of their place in memory. So
 * sets of them are in another order in every run, and with them what is seen: rooms list their things otherwise. With
 * ``(int) uuid()`` for a hash code, the order follows from the task, and a set can be copied as it lies in memory.
 */
final class HashedLoader extends URLClassLoader {
  /** The class of all objects. */
  static final String HASHED = "scienceworld.struct.EnvObject";
  private static final int UTF8 = 1, INTEGER = 3, FLOAT = 4, LONG = 5, DOUBLE = 6, CLASS = 7, STRING = 8;
  private static final int METHOD = 10, NAME_AND_TYPE = 12, METHOD_HANDLE = 15, METHOD_TYPE = 16;
  private static final int MODULE = 19, PACKAGE = 20;
  /** aload_0; invokevirtual, then after the two bytes of its operand: l2i; ireturn. */
  private static final int ALOAD_0 = 0x2a, INVOKEVIRTUAL = 0xb6, L2I = 0x88, IRETURN = 0xac;

  HashedLoader(URL jar) {
    super(new URL[] {jar}, HashedLoader.class.getClassLoader());
  }

  @Override
  protected Class<?> findClass(String name) throws ClassNotFoundException {
    if (!name.equals(HASHED)) {
      return super.findClass(name);
    }
    try (InputStream file = findResource(name.replace('.', '/') + ".class").openStream()) {
      byte[] code = hashed(file.readAllBytes());
      return defineClass(name, code, 0, code.length);
    } catch (IOException error) {
      throw new ClassNotFoundException(name, error);
    }
  }

  /** Return a class file with the method ``public int hashCode() { return (int) uuid(); }`` added to it. */
  private static byte[] hashed(byte[] file) throws IOException {
    DataInputStream in = new DataInputStream(new ByteArrayInputStream(file));
    in.skipBytes(8); // magic number and version
    int count = in.readUnsignedShort();
    for (int i = 1; i < count; i++) {
      i += skipConstant(in);
    }
    int poolEnd = file.length - in.available();
    in.skipBytes(2); // access
    int type = in.readUnsignedShort();
    in.skipBytes(2); // superclass
    in.skipBytes(2 * in.readUnsignedShort()); // interfaces
    skipMembers(in, in.readUnsignedShort()); // fields
    int methodsAt = file.length - in.available();
    int methods = in.readUnsignedShort();
    skipMembers(in, methods);
    int methodsEnd = file.length - in.available();

    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    DataOutputStream out = new DataOutputStream(bytes);
    out.write(file, 0, 8);
    out.writeShort(count + 7);
    out.write(file, 10, poolEnd - 10);
    for (String text : new String[] {"hashCode", "()I", "Code", "uuid", "()J"}) {
      out.writeByte(UTF8);
      out.writeUTF(text);
    }
    out.writeByte(NAME_AND_TYPE);
    out.writeShort(count + 3);
    out.writeShort(count + 4);
    out.writeByte(METHOD);
    out.writeShort(type);
    out.writeShort(count + 5);
    out.write(file, poolEnd, methodsAt - poolEnd);
    out.writeShort(methods + 1);
    out.write(file, methodsAt + 2, methodsEnd - methodsAt - 2);
    writeMethod(out, count);
    out.write(file, methodsEnd, file.length - methodsEnd);
    return bytes.toByteArray();
  }

  private static void writeMethod(DataOutputStream out, int added) throws IOException {
    out.writeShort(1); // public
    out.writeShort(added); // hashCode
    out.writeShort(added + 1); // ()I
    out.writeShort(1); // one attribute:
    out.writeShort(added + 2); // Code
    out.writeInt(18);
    out.writeShort(2); // stack
    out.writeShort(1); // locals
    out.writeInt(6);
    out.writeByte(ALOAD_0);
    out.writeByte(INVOKEVIRTUAL);
    out.writeShort(added + 6); // uuid()
    out.writeByte(L2I);
    out.writeByte(IRETURN);
    out.writeShort(0); // exceptions
    out.writeShort(0); // attributes
  }

  /** Skip a constant; return how many numbers it takes beyond one. */
  private static int skipConstant(DataInputStream in) throws IOException {
    int tag = in.readUnsignedByte();
    switch (tag) {
      case UTF8:
        in.skipBytes(in.readUnsignedShort());
        return 0;
      case LONG:
      case DOUBLE:
        in.skipBytes(8);
        return 1;
      case CLASS:
      case STRING:
      case METHOD_TYPE:
      case MODULE:
      case PACKAGE:
        in.skipBytes(2);
        return 0;
      case METHOD_HANDLE:
        in.skipBytes(3);
        return 0;
      default: // numbers of four bytes, and pairs
        in.skipBytes(4);
        return 0;
    }
  }

  private static void skipMembers(DataInputStream in, int number) throws IOException {
    for (int i = 0; i < number; i++) {
      in.skipBytes(6);
      int attributes = in.readUnsignedShort();
      for (int j = 0; j < attributes; j++) {
        in.skipBytes(2);
        in.skipBytes(in.readInt());
      }
    }
  }
}
