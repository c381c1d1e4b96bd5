/** The scheduler. One test file (each costs a process), several sources. */
import './scheduler/filters.ts';
import './scheduler/fast-path.ts';
import './scheduler/decisions.ts';
import './scheduler/packing.ts';
import './scheduler/preemption.ts';
import './scheduler/driver.ts';
import './scheduler/volumes.ts';
import './scheduler/images.ts';
import './scheduler/rebalance.ts';
import './scheduler/why.ts';
