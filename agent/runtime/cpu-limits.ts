/** From Kubernetes' CPU quantities to what Linux' scheduler takes; the same for every engine. Pure. */
import type { ContainerSpec } from './runtime.ts';

export interface CpuLimits {
  /** Weight under cgroup v1; engines convert it for version 2. */
  readonly shares: number;
  /** Both in microseconds; absent without a limit. */
  readonly bandwidth?: { readonly period: number; readonly quota: number };
}

/** Linux' smallest CPU weight under cgroup v1, and what Kubernetes gives to a container without request. */
const SHARES_MIN = 2;
const PERIOD_US = 100_000;
const QUOTA_US_MIN = 1_000;

/** Kubernetes: one core is 1024 shares; the request defaults to the limit. */
export function cpuLimits(resources: ContainerSpec['resources']): CpuLimits {
  const { cpuRequestMillis, cpuLimitMillis } = resources;
  const request = cpuRequestMillis ?? cpuLimitMillis ?? 0;
  const shares = Math.max(SHARES_MIN, Math.floor((request * 1024) / 1000));
  if (cpuLimitMillis === undefined || cpuLimitMillis === 0) return { shares };
  const quota = Math.max(QUOTA_US_MIN, Math.floor((cpuLimitMillis * PERIOD_US) / 1000));
  return { shares, bandwidth: { period: PERIOD_US, quota } };
}
