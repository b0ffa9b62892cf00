/**
 * A C struct as one table of fields, from which decoding and encoding are derived.
 * All structs of the kernel and of the disk that we use are little endian, as are
 * the machines we run on.
 */

export interface Field<T> {
  readonly offset: number;
  readonly get: (view: DataView, offset: number) => T;
  readonly set: (view: DataView, offset: number, value: T) => void;
}

/** Any field: reading gives something, and only its own kind of value may be set. */
interface AnyField {
  readonly offset: number;
  readonly get: (view: DataView, offset: number) => unknown;
  readonly set: (view: DataView, offset: number, value: never) => void;
}

type Fields = Readonly<Record<string, AnyField>>;
type Value<F> = F extends { readonly get: (view: DataView, offset: number) => infer T } ? T : never;

export interface Struct<F> {
  readonly sizeBytes: number;
  readonly fields: F;
  /** Throws a RangeError when `bytes` is shorter than the struct. */
  decode(bytes: Uint8Array): { [K in keyof F]: Value<F[K]> };
  /** A zeroed struct with these fields set. */
  encode(values: Partial<{ [K in keyof F]: Value<F[K]> }>): Uint8Array;
  /** Sets fields in place and leaves all others alone. */
  patch(bytes: Uint8Array, values: Partial<{ [K in keyof F]: Value<F[K]> }>): void;
}

export const u8 = (offset: number): Field<number> => ({
  offset,
  get: (view, at) => view.getUint8(at),
  set: (view, at, value) => view.setUint8(at, value),
});

export const u16 = (offset: number): Field<number> => ({
  offset,
  get: (view, at) => view.getUint16(at, true),
  set: (view, at, value) => view.setUint16(at, value, true),
});

export const u32 = (offset: number): Field<number> => ({
  offset,
  get: (view, at) => view.getUint32(at, true),
  set: (view, at, value) => view.setUint32(at, value, true),
});

export const i32 = (offset: number): Field<number> => ({
  offset,
  get: (view, at) => view.getInt32(at, true),
  set: (view, at, value) => view.setInt32(at, value, true),
});

/** A 64-bit field keeps all its bits: what a damaged disk says need not fit a number. */
export const u64 = (offset: number): Field<bigint> => ({
  offset,
  get: (view, at) => view.getBigUint64(at, true),
  set: (view, at, value) => view.setBigUint64(at, value, true),
});

/** A copy of `length` bytes. Setting fewer leaves the rest as it was; setting more throws. */
export const raw = (offset: number, length: number): Field<Uint8Array> => ({
  offset,
  get: (view, at) => new Uint8Array(view.buffer, view.byteOffset + at, length).slice(),
  set: (view, at, value) => {
    if (value.length > length)
      throw new RangeError(`${value.length} bytes in a field of ${length}`);
    new Uint8Array(view.buffer, view.byteOffset + at, length).set(value);
  },
});

export function struct<F extends Fields>(sizeBytes: number, fields: F): Struct<F> {
  type Values = { [K in keyof F]: Value<F[K]> };
  const patch = (bytes: Uint8Array, values: Partial<Values>): void => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, sizeBytes);
    for (const [name, value] of Object.entries(values)) {
      const field = fields[name];
      field?.set(view, field.offset, value as never);
    }
  };
  return {
    sizeBytes,
    fields,
    patch,
    decode(bytes) {
      if (bytes.length < sizeBytes) throw new RangeError(`${bytes.length} bytes for ${sizeBytes}`);
      const view = new DataView(bytes.buffer, bytes.byteOffset, sizeBytes);
      const values: Record<string, unknown> = {};
      for (const name in fields) values[name] = fields[name]?.get(view, fields[name].offset);
      return values as Values;
    },
    encode(values) {
      const bytes = new Uint8Array(new ArrayBuffer(sizeBytes));
      patch(bytes, values);
      return bytes;
    },
  };
}
