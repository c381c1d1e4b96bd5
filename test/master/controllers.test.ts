/**
 * The controllers: Kubernetes' documented behaviour as tables over the pure functions, and whole
 * runs. One test file (each costs a process), several sources.
 */
import './controllers/address-pool.ts';
import './controllers/certificates.ts';
import './controllers/daemonsets.ts';
import './controllers/deployment.ts';
import './controllers/deployment-rollback.ts';
import './controllers/disruption.ts';
import './controllers/rebalance.ts';
import './controllers/replicaset.ts';
import './controllers/endpoints.ts';
import './controllers/cronjobs.ts';
import './controllers/horizontal.ts';
import './controllers/jobs.ts';
import './controllers/load-balancer.ts';
import './controllers/cluster.ts';
import './controllers/machinery.ts';
import './controllers/runs.ts';
import './controllers/statefulset-claims.ts';
import './controllers/statefulsets.ts';
import './controllers/volumes.ts';
import './controllers/whole.ts';
import './controllers/whole-workloads.ts';
import './controllers/whole-conformance.ts';
