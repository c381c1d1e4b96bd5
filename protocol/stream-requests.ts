/**
 * What the master asks of a board that is to be answered by a stream (streams.ts): on MQTT, never retained. The agent answers by
 * dialling `wss://<api server>/pier/v1/streams/<id>` with its certificate.
 */
import { type Static, Type } from 'typebox';
import { Version } from './messages.ts';

const nodeStreamBase = { v: Version, id: Type.String({ minLength: 16, maxLength: 64 }) };
const streamBase = { ...nodeStreamBase, podUid: Type.String() };
const Redirections = {
  container: Type.String(),
  stdin: Type.Boolean(),
  stdout: Type.Boolean(),
  /** False with a terminal, which has one output only. */
  stderr: Type.Boolean(),
  tty: Type.Boolean(),
};

export const LogsRequest = Type.Object({
  ...streamBase,
  type: Type.Literal('logs'),
  container: Type.String(),
  follow: Type.Boolean(),
  previous: Type.Boolean(),
  timestamps: Type.Boolean(),
  tailLines: Type.Optional(Type.Integer({ minimum: 0 })),
  sinceSeconds: Type.Optional(Type.Integer({ minimum: 1 })),
  /** RFC 3339, by the board's clock. Not together with sinceSeconds. */
  sinceTime: Type.Optional(Type.String({ maxLength: 64 })),
  limitBytes: Type.Optional(Type.Integer({ minimum: 1 })),
});
export type LogsRequest = Static<typeof LogsRequest>;

export const ExecRequest = Type.Object({
  ...streamBase,
  type: Type.Literal('exec'),
  ...Redirections,
  command: Type.Array(Type.String(), { minItems: 1 }),
});
export type ExecRequest = Static<typeof ExecRequest>;

export const AttachRequest = Type.Object({
  ...streamBase,
  type: Type.Literal('attach'),
  ...Redirections,
});
export type AttachRequest = Static<typeof AttachRequest>;

/** One TCP connection to a port of the pod. */
export const PortForwardRequest = Type.Object({
  ...streamBase,
  type: Type.Literal('portForward'),
  port: Type.Integer({ minimum: 1, maximum: 65_535 }),
});
export type PortForwardRequest = Static<typeof PortForwardRequest>;

/** The pages of a kubelet that Prometheus reads. */
export const METRICS_PAGES = ['metrics', 'metrics/cadvisor', 'metrics/resource'] as const;
export type MetricsPage = (typeof METRICS_PAGES)[number];

/** What the board measures, as text. */
export const MetricsRequest = Type.Object({
  ...nodeStreamBase,
  type: Type.Literal('metrics'),
  page: Type.Union([
    Type.Literal(METRICS_PAGES[0]),
    Type.Literal(METRICS_PAGES[1]),
    Type.Literal(METRICS_PAGES[2]),
  ]),
});
export type MetricsRequest = Static<typeof MetricsRequest>;

/** A shell on the board itself, with a terminal; of those boards only that allow it. */
export const ShellRequest = Type.Object({
  ...nodeStreamBase,
  type: Type.Literal('shell'),
  /** Who wants it, for the board's own log and events. */
  user: Type.String({ maxLength: 256 }),
  /** Of the client's terminal, for $TERM. */
  term: Type.String({ pattern: '^[A-Za-z0-9._+-]{1,64}$' }),
});
export type ShellRequest = Static<typeof ShellRequest>;

/** Into a pod of the board. */
export type PodStreamRequest = LogsRequest | ExecRequest | AttachRequest | PortForwardRequest;

export const StreamRequest = Type.Union([
  LogsRequest,
  ExecRequest,
  AttachRequest,
  PortForwardRequest,
  MetricsRequest,
  ShellRequest,
]);
export type StreamRequest = Static<typeof StreamRequest>;
