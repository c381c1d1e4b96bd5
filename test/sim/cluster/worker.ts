/**
 * The entry of a worker thread that simulates one seed after the other, as it is told. It is bundled (workers.ts), possibly with
 * a planted bug, so nothing here may import tap or find its way by paths.
 */
import { parentPort } from 'node:worker_threads';
import { type SimulationOptions, simulate } from './simulation.ts';

parentPort?.on('message', async (options: SimulationOptions) => {
  parentPort?.postMessage(await simulate(options));
});
