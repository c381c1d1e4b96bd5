/** What the store says when it cannot serve, as answers that tell a client whether to try again. */
import { ApiError } from '../../protocol/status.ts';
import {
  NoSpaceError,
  StoreBusyError,
  StoreClosedError,
  StoreFailedError,
} from '../store/store.ts';

/** The `ApiError` for an error of the store; any other error as it is. */
export function fromStore(error: unknown): unknown {
  if (error instanceof NoSpaceError) {
    const what = 'nothing was written, because the disk of the master is full';
    // kubectl asks ten times in silence before it shows this: ten seconds, not a hundred.
    return unavailable(`${what}: ${error.message}`, 1, error);
  }
  if (error instanceof StoreBusyError) {
    return new ApiError(
      429,
      'TooManyRequests',
      error.message,
      { retryAfterSeconds: 1 },
      { cause: error },
    );
  }
  if (error instanceof StoreClosedError) {
    return unavailable('the master is shutting down', 5, error);
  }
  if (error instanceof StoreFailedError) {
    // Whether the write is on the disk is not known: the client must read before it tries again.
    return unavailable(`the disk of the master failed: ${error.message}`, 10, error);
  }
  return error;
}

function unavailable(message: string, retryAfterSeconds: number, cause: Error): ApiError {
  return new ApiError(503, 'ServiceUnavailable', message, { retryAfterSeconds }, { cause });
}
