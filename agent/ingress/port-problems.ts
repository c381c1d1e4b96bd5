/** Ports are for all Ingresses of the board: what befalls one is told of each Ingress, once while it is there. */
import type { DesiredIngress } from '../../protocol/ingress.ts';
import type { ServiceProblem } from '../proxy/service-table.ts';

export class PortProblems {
  #told = new Set<string>();

  /** The problems to tell now; `problem` may come again and again. */
  of(problem: ServiceProblem, ingresses: readonly DesiredIngress[]): ServiceProblem[] {
    const keyOf = ({ namespace, name }: DesiredIngress): string =>
      `${namespace}/${name} ${problem.message}`;
    const fresh = ingresses.filter((ingress) => !this.#told.has(keyOf(ingress)));
    for (const ingress of fresh) this.#told.add(keyOf(ingress));
    return fresh.map(({ namespace, name }) => ({
      ...problem,
      service: { namespace, name, isIngress: true },
    }));
  }

  /** Forgets Ingresses that are gone. */
  keepOnly(ingresses: readonly DesiredIngress[]): void {
    const names = new Set(ingresses.map(({ namespace, name }) => `${namespace}/${name}`));
    this.#told = new Set([...this.#told].filter((key) => names.has(key.split(' ', 1)[0] ?? '')));
  }
}
