/**
 * The pause image, made here: one static program of about 250 bytes that holds a pod's namespaces. It needs
 * no registry, no compiler and no package on the board, and is the same for every engine.
 *
 * The program, in the three machine codes below, in words:
 *   rt_sigaction(SIGCHLD, SIG_IGN)            orphans that fall to process 1 are reaped by the kernel
 *   rt_sigprocmask(SIG_BLOCK, all)            process 1 gets a blocked signal, but never a default one
 *   rt_sigtimedwait({SIGTERM, SIGINT})        again while it is interrupted (EINTR)
 *   exit_group(0)
 * The code finds its three operands (struct sigaction, the full mask, the mask waited for) relative to
 * itself, behind the last instruction, so it does not matter where it is loaded.
 */
import { tarArchive } from './tar.ts';

/** Names of `process.arch` that a board may have. */
export type PauseArch = 'x64' | 'arm64' | 'arm';

/** Changes when the program does, so that an old image is not taken for a new one. */
export const PAUSE_IMAGE = 'localhost/pier-pause:1';
export const PAUSE_COMMAND = '/pause';

interface Machine {
  readonly bits: 32 | 64;
  /** e_machine of the ELF header. */
  readonly machine: number;
  readonly flags: number;
  readonly code: string;
}

// From the GNU assembler 2.40; amd64 ran under Linux here, arm64 and arm in QEMU's user mode.
const MACHINES: Record<PauseArch, Machine> = {
  x64: {
    bits: 64,
    machine: 0x3e,
    flags: 0,
    code: `
      b80d000000bf11000000488d354700000031d241ba080000000f05b80e000000
      31ff488d354f00000031d20f05b880000000488d3d4700000031f631d241ba08
      0000000f0585c078e4b8e700000031ff0f05660f1f4400000100000000000000
      000000000000000000000000000000000000000000000000ffffffffffffffff
      0240000000000000`,
  },
  arm64: {
    bits: 64,
    machine: 0xb7,
    flags: 0,
    code: `
      c81080d2200280d281020010020080d2030180d2010000d4e81080d2000080d2
      c1020010020080d2010000d4281180d280020010010080d2020080d2030180d2
      010000d440ffff37c80b80d2000080d2010000d41f2003d50100000000000000
      000000000000000000000000000000000000000000000000ffffffffffffffff
      0240000000000000`,
  },
  arm: {
    bits: 32,
    machine: 0x28,
    // EABI version 5.
    flags: 0x05000000,
    code: `
      ae70a0e31100a0e348108fe20020a0e30830a0e3000000efaf70a0e30000a0e3
      48108fe20020a0e3000000efb170a0e340008fe20010a0e30020a0e30830a0e3
      000000ef000050e3f7ffffbaf870a0e30000a0e3000000ef0100000000000000
      00000000000000000000000000000000ffffffffffffffff0240000000000000`,
  },
};

/** The file system of the image as a tar archive: `/pause` and nothing else. */
export function pauseImageTar(arch: PauseArch): Uint8Array {
  return tarArchive([{ path: 'pause', mode: 0o755, content: pauseProgram(arch) }]);
}

/** The program as an ELF file: header, one segment that is read and executed, code. */
export function pauseProgram(arch: PauseArch): Uint8Array {
  const { bits, machine, flags, code } = MACHINES[arch];
  const body = Buffer.from(code.replace(/\s+/g, ''), 'hex');
  return bits === 64 ? elf64(machine, flags, body) : elf32(machine, flags, body);
}

/** Undefined when no pause program exists for this machine. */
export function pauseArch(processArch: string): PauseArch | undefined {
  return processArch === 'x64' || processArch === 'arm64' || processArch === 'arm'
    ? processArch
    : undefined;
}

function ident(bits: 32 | 64): Buffer {
  // Magic, class (1 = 32, 2 = 64 bits), little-endian, version 1, System V, padding to 16 bytes.
  return Buffer.from([0x7f, 0x45, 0x4c, 0x46, bits === 64 ? 2 : 1, 1, 1, ...new Array(9).fill(0)]);
}

function elf64(machine: number, flags: number, code: Buffer): Uint8Array {
  const headBytes = 64 + 56;
  const base = 0x400000n;
  const size = BigInt(headBytes + code.length);
  const head = Buffer.alloc(headBytes);
  ident(64).copy(head);
  head.writeUInt16LE(2, 16); // e_type: executable
  head.writeUInt16LE(machine, 18);
  head.writeUInt32LE(1, 20);
  head.writeBigUInt64LE(base + BigInt(headBytes), 24); // e_entry
  head.writeBigUInt64LE(64n, 32); // e_phoff
  head.writeUInt32LE(flags, 48);
  head.writeUInt16LE(64, 52); // e_ehsize
  head.writeUInt16LE(56, 54); // e_phentsize
  head.writeUInt16LE(1, 56); // e_phnum
  head.writeUInt32LE(1, 64); // p_type: load
  head.writeUInt32LE(5, 68); // p_flags: read, execute
  head.writeBigUInt64LE(base, 80); // p_vaddr
  head.writeBigUInt64LE(base, 88); // p_paddr
  head.writeBigUInt64LE(size, 96); // p_filesz
  head.writeBigUInt64LE(size, 104); // p_memsz
  head.writeBigUInt64LE(0x10000n, 112); // p_align: the largest page size in use
  return Buffer.concat([head, code]);
}

function elf32(machine: number, flags: number, code: Buffer): Uint8Array {
  const headBytes = 52 + 32;
  const base = 0x10000;
  const size = headBytes + code.length;
  const head = Buffer.alloc(headBytes);
  ident(32).copy(head);
  head.writeUInt16LE(2, 16);
  head.writeUInt16LE(machine, 18);
  head.writeUInt32LE(1, 20);
  head.writeUInt32LE(base + headBytes, 24); // e_entry
  head.writeUInt32LE(52, 28); // e_phoff
  head.writeUInt32LE(flags, 36);
  head.writeUInt16LE(52, 40); // e_ehsize
  head.writeUInt16LE(32, 42); // e_phentsize
  head.writeUInt16LE(1, 44); // e_phnum
  head.writeUInt32LE(1, 52); // p_type: load
  head.writeUInt32LE(base, 60); // p_vaddr
  head.writeUInt32LE(base, 64); // p_paddr
  head.writeUInt32LE(size, 68); // p_filesz
  head.writeUInt32LE(size, 72); // p_memsz
  head.writeUInt32LE(5, 76); // p_flags: read, execute
  head.writeUInt32LE(0x10000, 80); // p_align
  return Buffer.concat([head, code]);
}
