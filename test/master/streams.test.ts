/**
 * Streams into pods over the API: the framers, fuzzed; and the whole way from a client's socket through API server, board
 * stream and agent to a fake runtime. One test file (each costs a process), several sources.
 */
import './streams/framers.ts';
import './streams/exec.ts';
import './streams/ports.ts';
import './streams/watch.ts';
import './streams/metrics.ts';
import './streams/shell.ts';
