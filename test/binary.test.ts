/** The proxy is one static binary: no interpreter, no shared library, no OpenSSL, and small. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { root } from './support/cluster.ts';

const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const DT_NEEDED = 1n;
const BYTES_MAX = 6 * 1024 * 1024;

/** Program headers of a 64-bit little-endian ELF file (elf(5)). */
function programHeaders(elf: Buffer): { type: number; offset: number; size: number }[] {
  assert.equal(elf.toString('latin1', 0, 4), '\x7fELF');
  const start = Number(elf.readBigUInt64LE(32));
  const entryBytes = elf.readUInt16LE(54);
  return Array.from({ length: elf.readUInt16LE(56) }, (_, index) => {
    const at = start + index * entryBytes;
    const [offset, size] = [elf.readBigUInt64LE(at + 8), elf.readBigUInt64LE(at + 32)].map(Number);
    return { type: elf.readUInt32LE(at), offset: offset ?? 0, size: size ?? 0 };
  });
}

for (const name of ['tulle-proxy', 'tulle-pod']) {
  test(`${name} is static`, () => {
    const elf = readFileSync(join(root, 'target/release', name));
    const headers = programHeaders(elf);
    assert.ok(!headers.some(({ type }) => type === PT_INTERP), 'it has an interpreter');
    const dynamic = headers.find(({ type }) => type === PT_DYNAMIC);
    const tags = Array.from({ length: (dynamic?.size ?? 0) / 16 }, (_, index) =>
      elf.readBigUInt64LE((dynamic?.offset ?? 0) + index * 16),
    );
    assert.ok(!tags.includes(DT_NEEDED), 'it needs a shared library');
    assert.ok(!/OpenSSL|BoringSSL/.test(elf.toString('latin1')), 'it has another TLS library in it');
    assert.ok(elf.length <= BYTES_MAX, `${elf.length} bytes`);
  });
}
