/** Endpoints as Kubernetes documents them. */
import t from 'tap';
import { reconcileEndpoints } from '../../../master/controllers/endpoints.ts';
import type { Endpoints, Pod, Service } from '../../../protocol/kinds/types.ts';
import { ofType, pod } from './objects.ts';

t.test('Endpoints list ready and not-ready pods with their ports', async (t) => {
  const service = (spec: Service['spec']): Service => ({
    metadata: { name: 'web', namespace: 'default', uid: 's', labels: { team: 'x' } },
    spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }], ...spec },
  });
  const view = (one: Service | undefined, pods: Pod[], endpoints?: Endpoints) =>
    reconcileEndpoints({ namespace: 'default', name: 'web', service: one, pods, endpoints });
  const subsets = (one: Service, pods: Pod[]) =>
    (ofType(view(one, pods), 'create')[0]?.object as Endpoints | undefined)?.subsets;
  const pods = [pod('aa'), pod('b', { ready: false }), pod('cccc', { phase: 'Succeeded' })];
  t.match(subsets(service({}), pods), [
    {
      addresses: [{ ip: '10.42.0.2', nodeName: 'a', targetRef: { kind: 'Pod', name: 'aa' } }],
      notReadyAddresses: [{ ip: '10.42.0.1' }],
      ports: [{ port: 8080, protocol: 'TCP' }],
    },
  ]);
  const all = subsets(service({ publishNotReadyAddresses: true }), pods);
  t.equal(all?.[0]?.addresses?.length, 2, 'publishNotReadyAddresses');
  t.same(subsets(service({ clusterIP: 'None', ports: [] }), [pod('aa')])?.[0]?.ports, undefined);
  const named = pod('named');
  named.spec = {
    containers: [{ name: 'c', image: 'i', ports: [{ name: 'http', containerPort: 3000 }] }],
  };
  const byName = service({ ports: [{ name: 'x', port: 80, targetPort: 'http' }] });
  t.match(subsets(byName, [named, pod('b')]), [{ ports: [{ name: 'x', port: 3000 }] }]);
  t.same(subsets(byName, [pod('b')]), [], 'a pod without the named port serves nothing');
  t.same(view(service({ selector: {} }), pods), [], 'no selector: people write the Endpoints');
  const made = ofType(view(service({}), pods), 'create')[0]?.object as Endpoints;
  t.same(view(service({}), pods, made), [], 'nothing changed, nothing written');
  t.match(view(undefined, [], made), [{ type: 'delete', name: 'web' }]);
  t.same(view(undefined, [], { metadata: { name: 'web' } }), [], 'not ours to delete');
});
