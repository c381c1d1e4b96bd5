/** The kinds that this server has. One that nothing acts on warns of it at every write: to accept it in silence would be a lie. */
import type { KindModule } from '../kind.ts';
import { CERTIFICATE_SIGNING_REQUEST } from './certificate-signing-request.ts';
import { CONFIG_MAP } from './config-map.ts';
import { CONTROLLER_REVISION } from './controller-revision.ts';
import { CRON_JOB } from './cron-job.ts';
import { CSI_DRIVER } from './csi-driver.ts';
import { CSI_NODE } from './csi-node.ts';
import { CSI_STORAGE_CAPACITY } from './csi-storage-capacity.ts';
import { DAEMON_SET } from './daemon-set.ts';
import { DEPLOYMENT } from './deployment.ts';
import { ENDPOINT_SLICE } from './endpoint-slice.ts';
import { ENDPOINTS } from './endpoints.ts';
import { EVENT } from './event.ts';
import { EVENT_V1 } from './event-v1.ts';
import { HORIZONTAL_POD_AUTOSCALER } from './horizontal-pod-autoscaler.ts';
import { HORIZONTAL_POD_AUTOSCALER_V1 } from './horizontal-pod-autoscaler-v1.ts';
import { INGRESS } from './ingress.ts';
import { INGRESS_CLASS } from './ingress-class.ts';
import { JOB } from './job.ts';
import { LEASE } from './lease.ts';
import { LIMIT_RANGE } from './limit-range.ts';
import { NAMESPACE } from './namespace.ts';
import { NETWORK_POLICY } from './network-policy.ts';
import { NODE } from './node.ts';
import { PERSISTENT_VOLUME } from './persistent-volume.ts';
import { PERSISTENT_VOLUME_CLAIM } from './persistent-volume-claim.ts';
import { POD } from './pod.ts';
import { POD_DISRUPTION_BUDGET } from './pod-disruption-budget.ts';
import { POD_TEMPLATE } from './pod-template.ts';
import { PRIORITY_CLASS } from './priority-class.ts';
import { REPLICA_SET } from './replica-set.ts';
import { REPLICATION_CONTROLLER } from './replication-controller.ts';
import { RESOURCE_QUOTA } from './resource-quota.ts';
import { CLUSTER_ROLE_BINDING, ROLE_BINDING } from './role-bindings.ts';
import { CLUSTER_ROLE, ROLE } from './roles.ts';
import { RUNTIME_CLASS } from './runtime-class.ts';
import { SECRET } from './secret.ts';
import { SERVICE } from './service.ts';
import { SERVICE_ACCOUNT } from './service-account.ts';
import { STATEFUL_SET } from './stateful-set.ts';
import { STORAGE_CLASS } from './storage-class.ts';
import { VOLUME_ATTACHMENT } from './volume-attachment.ts';
import { VOLUME_ATTRIBUTES_CLASS } from './volume-attributes-class.ts';

/** In the order of `kubectl api-resources`: by group, then by kind. */
export const KIND_MODULES: readonly KindModule[] = [
  CONFIG_MAP,
  ENDPOINTS,
  EVENT,
  LIMIT_RANGE,
  NAMESPACE,
  NODE,
  PERSISTENT_VOLUME_CLAIM,
  PERSISTENT_VOLUME,
  POD,
  POD_TEMPLATE,
  REPLICATION_CONTROLLER,
  RESOURCE_QUOTA,
  SECRET,
  SERVICE_ACCOUNT,
  SERVICE,
  CONTROLLER_REVISION,
  DAEMON_SET,
  DEPLOYMENT,
  REPLICA_SET,
  STATEFUL_SET,
  HORIZONTAL_POD_AUTOSCALER,
  HORIZONTAL_POD_AUTOSCALER_V1,
  CRON_JOB,
  JOB,
  CERTIFICATE_SIGNING_REQUEST,
  LEASE,
  ENDPOINT_SLICE,
  EVENT_V1,
  INGRESS_CLASS,
  INGRESS,
  NETWORK_POLICY,
  RUNTIME_CLASS,
  POD_DISRUPTION_BUDGET,
  CLUSTER_ROLE_BINDING,
  CLUSTER_ROLE,
  ROLE_BINDING,
  ROLE,
  CSI_DRIVER,
  CSI_NODE,
  CSI_STORAGE_CAPACITY,
  STORAGE_CLASS,
  VOLUME_ATTACHMENT,
  VOLUME_ATTRIBUTES_CLASS,
  PRIORITY_CLASS,
];
