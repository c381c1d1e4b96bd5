/** The one part of systeminformation that is used; its index would load 20 others, 3 MiB. */
declare module 'systeminformation/lib/system.js' {
  import type { Systeminformation } from 'systeminformation';

  /** CommonJS: a split bundle gives only the default export. */
  const library: { system(): Promise<Systeminformation.SystemData> };
  export default library;
}
