/**
 * The messages between master and agent (topics in topics.ts, encoding in codec.ts). One TypeBox schema each
 * is the type and the validator. `v` is the schema version: another one is refused, never guessed.
 *
 * Order and completeness: `(epoch, revision)` of a manifest orders the desired state of one cluster. An agent
 * obeys only its own clusterId and only a manifest that is newer than the one it holds. A manifest names
 * every payload by digest, so an agent knows when it holds all of it, in whatever order messages came.
 * Digests cover what is desired, not status, so a status write never rewrites a board's disk.
 */
import { type Static, Type } from 'typebox';

export const MESSAGE_VERSION = 1;

/** Raw bytes, as CBOR carries them. */
const Bytes = Type.Refine(
  Type.Unsafe<Uint8Array>({}),
  (value) => value instanceof Uint8Array,
  () => 'must be bytes',
);
export const Version = Type.Literal(MESSAGE_VERSION);
const Stamp = {
  v: Version,
  clusterId: Type.String({ minLength: 1, maxLength: 64 }),
  epoch: Type.Integer({ minimum: 0 }),
  /** Store revision the content was computed from. */
  revision: Type.Integer({ minimum: 0 }),
};
export const Digest = Type.String({ minLength: 1, maxLength: 64 });
export const Name = Type.String({ minLength: 1, maxLength: 253 });
/** Kubernetes JSON, decoded strictly against the table of kinds by its reader. */
const KubeJson = Type.Record(Type.String(), Type.Unknown());

const NamedDigest = Type.Object({ namespace: Name, name: Name, digest: Digest });

const VolumeDirectory = Type.Object({
  /** Of the PersistentVolume: never given twice. */
  name: Name,
  path: Type.String({ minLength: 1 }),
});

export const Manifest = Type.Object({
  ...Stamp,
  node: Type.Object({
    name: Name,
    uid: Type.String(),
    /** Empty until the master has given the board its range of pod addresses. */
    podCidr: Type.String(),
  }),
  pods: Type.Array(Type.Object({ uid: Type.String(), digest: Digest })),
  configs: Type.Array(
    Type.Object({
      kind: Type.Union([Type.Literal('configmap'), Type.Literal('secret')]),
      namespace: Name,
      name: Name,
      digest: Digest,
    }),
  ),
  /**
   * Volumes whose data nobody wants any more. An order of its own: that a volume is used by no pod removes nothing. Stays
   * until the board has said that it is done (VolumeReport).
   */
  removeVolumes: Type.Optional(Type.Array(VolumeDirectory)),
  /** What the board serves as HTTP (ingress.ts); absent when others do. */
  ingresses: Type.Optional(Type.Array(NamedDigest)),
});
export type Manifest = Static<typeof Manifest>;

/** What a PersistentVolumeClaim of a pod is on this board. */
const NfsExport = Type.Object({
  server: Type.String({ minLength: 1 }),
  path: Type.String({ minLength: 1 }),
  readOnly: Type.Optional(Type.Boolean()),
  mountOptions: Type.Optional(Type.Array(Type.String())),
});

export const DesiredClaim = Type.Union([
  /** A directory that the agent makes when a pod first needs it. */
  Type.Object({ type: Type.Literal('directory'), path: Type.String({ minLength: 1 }) }),
  /** Something of the board itself, as in a hostPath volume. */
  Type.Object({
    type: Type.Literal('hostPath'),
    path: Type.String({ minLength: 1 }),
    expect: Type.String(),
  }),
  /** The pod cannot have it: FailedMount. With `nfs` that holds only for agents that know none: a new type would break them. */
  Type.Object({
    type: Type.Literal('problem'),
    message: Type.String(),
    nfs: Type.Optional(NfsExport),
  }),
]);
export type DesiredClaim = Static<typeof DesiredClaim>;

export const DesiredPod = Type.Object({
  v: Version,
  uid: Type.String(),
  digest: Digest,
  /** A v1 Pod without status. */
  pod: KubeJson,
  /** By the name of the claim; absent for a pod without any. */
  claims: Type.Optional(Type.Record(Type.String(), DesiredClaim)),
  /**
   * Service account tokens of its volumes, the CBOR of a map by tokenKey, sealed to the board's key (seal.ts). Not part of the
   * digest: they are renewed without a new manifest.
   */
  tokens: Type.Optional(Bytes),
});
export type DesiredPod = Static<typeof DesiredPod>;

export const DesiredConfig = Type.Object({
  v: Version,
  kind: Type.Union([Type.Literal('configmap'), Type.Literal('secret')]),
  namespace: Name,
  name: Name,
  digest: Digest,
  /** For a configmap. */
  data: Type.Optional(Type.Record(Type.String(), Bytes)),
  /** For a secret: the CBOR of the same map, sealed to the board's key (seal.ts). */
  sealed: Type.Optional(Bytes),
});
export type DesiredConfig = Static<typeof DesiredConfig>;

export const ClusterManifest = Type.Object({
  ...Stamp,
  services: Type.Array(NamedDigest),
  boards: Type.Array(Type.Object({ node: Name, digest: Digest })),
});
export type ClusterManifest = Static<typeof ClusterManifest>;

const Protocol = Type.Union([Type.Literal('TCP'), Type.Literal('UDP'), Type.Literal('SCTP')]);
export const Port = Type.Integer({ minimum: 1, maximum: 65535 });

export const ServicePort = Type.Object({
  name: Type.String(),
  protocol: Protocol,
  port: Port,
  nodePort: Type.Optional(Port),
});
export type ServicePort = Static<typeof ServicePort>;

export const ServiceEndpoint = Type.Object({
  ip: Type.String(),
  node: Type.Optional(Name),
  /** "namespace/name" of the pod behind it, for logs and DNS. */
  pod: Type.Optional(Type.String()),
  hostname: Type.Optional(Type.String()),
  ready: Type.Boolean(),
  /** Still answers although it is on its way out: finish open connections, start none. */
  terminating: Type.Boolean(),
  /** Target port by the name of the service port ('' for the unnamed one). */
  ports: Type.Record(Type.String(), Port),
});
export type ServiceEndpoint = Static<typeof ServiceEndpoint>;

/** On a Service: its backends are told of the client by the PROXY protocol, "v1" or "v2". */
export const PROXY_PROTOCOL_ANNOTATION = 'pier.local/proxy-protocol';

/** On a Service of type LoadBalancer: its name on the LAN, "NAME.local" or "true". */
export const MDNS_ANNOTATION = 'pier.local/mdns';

export const DesiredService = Type.Object({
  v: Version,
  namespace: Name,
  name: Name,
  digest: Digest,
  type: Type.Union([
    Type.Literal('ClusterIP'),
    Type.Literal('NodePort'),
    Type.Literal('LoadBalancer'),
    Type.Literal('ExternalName'),
  ]),
  /** "None" for a headless service, empty for ExternalName. */
  clusterIp: Type.String(),
  externalName: Type.Optional(Type.String()),
  ports: Type.Array(ServicePort),
  endpoints: Type.Array(ServiceEndpoint),
  sessionAffinitySeconds: Type.Optional(Type.Integer({ minimum: 1 })),
  /** Listened for on addresses that a board has. */
  externalIps: Type.Optional(Type.Array(Type.String())),
  /** Without an address boards listen on their own; without ranges for everybody. */
  loadBalancer: Type.Optional(
    Type.Object({
      sourceRanges: Type.Array(Type.String()),
      /** Of the LAN: one board at a time takes it (agent/pool/). */
      address: Type.Optional(Type.String()),
    }),
  ),
  /** The text of the annotation, right or wrong. */
  proxyProtocol: Type.Optional(Type.String()),
  mdns: Type.Optional(
    Type.Object({
      /** The text of the annotation, right or wrong. */
      name: Type.String(),
      /** From the status, where another load balancer than Pier serves it. */
      addresses: Type.Optional(Type.Array(Type.String())),
    }),
  ),
  /** Endpoints of the same board first, while there are any. */
  preferLocal: Type.Optional(Type.Boolean()),
  internalTrafficLocal: Type.Boolean(),
  externalTrafficLocal: Type.Boolean(),
});
export type DesiredService = Static<typeof DesiredService>;

export const BoardRoute = Type.Object({
  v: Version,
  node: Name,
  digest: Digest,
  /** LAN address of the board. */
  address: Type.String(),
  podCidr: Type.String(),
});
export type BoardRoute = Static<typeof BoardRoute>;

/** Retained; the same session's last will says `online: false`. A will of an older session is ignored. */
export const Online = Type.Object({
  v: Version,
  online: Type.Boolean(),
  /** New for every start of the agent process. */
  session: Type.String({ minLength: 1 }),
});
export type Online = Static<typeof Online>;

/** Resources of this domain are devices that a board has found on itself; nobody else advertises them. */
export const DEVICE_DOMAIN = 'pier.local/';

export const NodeFacts = Type.Object({
  v: Version,
  session: Type.String({ minLength: 1 }),
  agentVersion: Type.String(),
  architecture: Type.String(),
  operatingSystem: Type.String(),
  osImage: Type.String(),
  kernelVersion: Type.String(),
  containerRuntimeVersion: Type.String(),
  machineId: Type.String(),
  systemUuid: Type.String(),
  bootId: Type.String(),
  hostname: Type.String(),
  /** Board model as the firmware says it, e.g. "Raspberry Pi 4 Model B Rev 1.4"; empty if unknown. */
  model: Type.String(),
  serial: Type.String(),
  internalIp: Type.String(),
  /** Quantities: cpu, memory, ephemeral-storage, pods, devices. */
  capacity: Type.Record(Type.String(), Type.String()),
  allocatable: Type.Record(Type.String(), Type.String()),
  labels: Type.Record(Type.String(), Type.String()),
  /** Below it the agent makes the directories of persistent volumes. */
  volumesDirectory: Type.Optional(Type.String()),
  /** SPKI DER of the board's certificate key: secrets are sealed to it. */
  publicKey: Bytes,
  /** The desired state it holds, if any; the master sees an agent of another cluster or a newer epoch. */
  holds: Type.Optional(
    Type.Object({ clusterId: Type.String(), epoch: Type.Integer(), revision: Type.Integer() }),
  ),
});
export type NodeFacts = Static<typeof NodeFacts>;

const Usage = {
  /** Average over `windowMs`, in billionths of a core. */
  cpuNanoCores: Type.Integer({ minimum: 0 }),
  memoryWorkingSetBytes: Type.Integer({ minimum: 0 }),
};

export const Heartbeat = Type.Object({
  v: Version,
  session: Type.String({ minLength: 1 }),
  sequence: Type.Integer({ minimum: 0 }),
  windowMs: Type.Integer({ minimum: 0 }),
  ...Usage,
  memoryAvailableBytes: Type.Integer({ minimum: 0 }),
  diskTotalBytes: Type.Integer({ minimum: 0 }),
  diskAvailableBytes: Type.Integer({ minimum: 0 }),
  networkReceiveBytes: Type.Integer({ minimum: 0 }),
  networkTransmitBytes: Type.Integer({ minimum: 0 }),
  temperatureCelsius: Type.Optional(Type.Number()),
  underVoltage: Type.Optional(Type.Boolean()),
  throttled: Type.Optional(Type.Boolean()),
  memoryPressure: Type.Boolean(),
  diskPressure: Type.Boolean(),
  pidPressure: Type.Boolean(),
  /** False with a reason when the container engine does not answer. */
  runtimeReady: Type.Boolean(),
  runtimeMessage: Type.Optional(Type.String()),
  /** Full names of images that are not built for this board, as it found out when pods needed them; absent: none. */
  foreignImages: Type.Optional(Type.Array(Type.String(), { maxItems: 64 })),
  pods: Type.Array(
    Type.Object({
      uid: Type.String(),
      namespace: Name,
      name: Name,
      containers: Type.Array(Type.Object({ name: Type.String(), ...Usage })),
    }),
  ),
});
export type Heartbeat = Static<typeof Heartbeat>;

export const PodReport = Type.Object({
  v: Version,
  session: Type.String({ minLength: 1 }),
  /** Rises by one per report of this session: late and doubled messages are dropped. */
  sequence: Type.Integer({ minimum: 0 }),
  uid: Type.String(),
  namespace: Name,
  name: Name,
  /** A v1 PodStatus. */
  status: KubeJson,
  /** Nothing of the pod is left on the board: the API may forget it. */
  gone: Type.Boolean(),
});
export type PodReport = Static<typeof PodReport>;

export const VolumeReport = Type.Object({
  v: Version,
  session: Type.String({ minLength: 1 }),
  /** Of a volume in `removeVolumes`. */
  name: Name,
  /** Why its directory could not be removed; absent when nothing of it is left. */
  problem: Type.Optional(Type.String({ maxLength: 1024 })),
});
export type VolumeReport = Static<typeof VolumeReport>;

export const NodeEvent = Type.Object({
  v: Version,
  session: Type.String({ minLength: 1 }),
  involved: Type.Object({
    kind: Type.String(),
    namespace: Type.String(),
    name: Type.String(),
    uid: Type.String(),
    fieldPath: Type.Optional(Type.String()),
  }),
  type: Type.Union([Type.Literal('Normal'), Type.Literal('Warning')]),
  reason: Type.String({ maxLength: 128 }),
  message: Type.String({ maxLength: 1024 }),
});
export type NodeEvent = Static<typeof NodeEvent>;

/** What a board is given when it joins: who it is and whom it trusts. A file of mode 0600. */
export const BoardCredentials = Type.Object({
  v: Version,
  clusterId: Type.String({ minLength: 1 }),
  node: Name,
  /** https://host:port of the API server; the certificate is checked against the name pier-master. */
  apiServer: Type.String(),
  /** mqtts://host:port of the broker. */
  broker: Type.String(),
  caCertificate: Type.String(),
  certificate: Type.String(),
  privateKey: Type.String(),
});
export type BoardCredentials = Static<typeof BoardCredentials>;

/** The name in the master's certificate: addresses change, this does not. */
export const MASTER_SERVER_NAME = 'pier-master';
