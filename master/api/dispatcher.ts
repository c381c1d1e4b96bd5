/**
 * From a request with a user to the handler of its path: resources, virtual resources, discovery, OpenAPI, version and
 * health. Each path that is no resource is authorized here; resources authorize in the registry.
 */
import { systemClock } from '../../protocol/clock.ts';
import {
  exposition,
  METRICS_TYPE,
  type MetricFamily,
  processFamilies,
} from '../../protocol/prometheus.ts';
import {
  type ApiRequest,
  asApiError,
  isNotModified,
  sendBytes,
  sendText,
  sendValue,
} from './answers.ts';
import { ISSUER } from './authn/account-tokens.ts';
import { forbiddenPath, forbiddenResource } from './authorizer.ts';
import { Discovery, versionInfo } from './discovery.ts';
import { apiEntries } from './entries.ts';
import { DEFAULT_IN_FLIGHT, InFlight, type InFlightLimits } from './in-flight.ts';
import { type MetricsSource, metricsResources } from './metrics.ts';
import { sendOpenApi } from './openapi/answers.ts';
import { type OpenApiSource, openApiOf } from './openapi/source.ts';
import type { LogSource } from './pod-log.ts';
import type { Registry } from './registry.ts';
import { readObject } from './request-body.ts';
import { RequestMetrics } from './request-metrics.ts';
import { handleResource, methodNotAllowed } from './resource-handlers.ts';
import { noSuchResource } from './resources.ts';
import { reviewResources } from './reviews.ts';
import { type PathRoute, parseRoute, type ResourceRoute } from './routes.ts';
import type { NodeSource } from './streams/source.ts';
import type { VirtualResource } from './virtual.ts';
import { DEFAULT_WATCH_LIMITS, type WatchLimits } from './watch-stream.ts';

/** One line of `/readyz?verbose`; the reason why not, or undefined when all is well. */
export interface HealthCheck {
  readonly name: string;
  check(): string | undefined;
}

export interface DispatcherOptions {
  readonly registry: Registry;
  readonly logs?: LogSource;
  readonly metrics?: MetricsSource;
  /** For nodes/proxy. */
  readonly nodes?: NodeSource;
  /** What `/metrics` tells beside the API's own figures. */
  readonly families?: () => MetricFamily[];
  readonly health?: readonly HealthCheck[];
  /** Default: made here when somebody asks. */
  readonly openapi?: OpenApiSource;
  readonly watchLimits?: Partial<WatchLimits>;
  readonly inFlight?: Partial<InFlightLimits>;
}

/** OpenID Connect Discovery 1.0, as far as tokens of service accounts need it. */
const ISSUER_DOCUMENT = {
  issuer: ISSUER,
  jwks_uri: `${ISSUER}/openid/v1/jwks`,
  response_types_supported: ['id_token'],
  subject_types_supported: ['public'],
  id_token_signing_alg_values_supported: ['ES256'],
};

export class Dispatcher {
  readonly #registry: Registry;
  readonly #options: DispatcherOptions;
  readonly #stopping: AbortSignal;
  readonly #virtual = new Map<string, VirtualResource>();
  readonly #discovery: Discovery;
  readonly #openapi: OpenApiSource;
  readonly #inFlight: InFlight;
  readonly #counted: RequestMetrics;
  readonly #watchLimits: WatchLimits;

  constructor(options: DispatcherOptions, stopping: AbortSignal) {
    const { registry, metrics } = options;
    this.#registry = registry;
    this.#options = options;
    this.#stopping = stopping;
    const virtual = [
      ...reviewResources(registry),
      ...(metrics === undefined ? [] : metricsResources(metrics)),
    ];
    for (const one of virtual) {
      this.#virtual.set(`${one.group}/${one.version}/${one.plural}`, one);
    }
    const modules = registry.table.all.map((resource) => resource.module);
    const entries = apiEntries(modules, virtual);
    this.#discovery = new Discovery(entries);
    this.#openapi = options.openapi ?? openApiOf(entries);
    this.#counted = new RequestMetrics(entries);
    this.#inFlight = new InFlight({ ...DEFAULT_IN_FLIGHT, ...options.inFlight });
    this.#watchLimits = { ...DEFAULT_WATCH_LIMITS, ...options.watchLimits };
  }

  /** Throws what is to be answered as a Status. */
  async dispatch(request: ApiRequest, method: string, path: string): Promise<void> {
    if (!['GET', 'POST', 'PUT', 'PATCH', 'DELETE'].includes(method)) throw methodNotAllowed();
    const route = parseRoute(method, path, request.query);
    const startedMs = systemClock.monotonicMs();
    const count = (code: number): void =>
      this.#counted.count(route, method, code, (systemClock.monotonicMs() - startedMs) / 1000);
    try {
      await this.#answer(request, method, route);
      count(request.response.statusCode);
    } catch (error) {
      count(asApiError(error).code);
      throw error;
    }
  }

  async #answer(
    request: ApiRequest,
    method: string,
    route: ResourceRoute | PathRoute,
  ): Promise<void> {
    if (route.type === 'path') {
      await this.#path(request, route);
      return;
    }
    const waits = route.verb === 'watch' || route.subresource === 'log';
    const kind = method === 'GET' ? 'reads' : 'writes';
    const leave = waits ? undefined : this.#inFlight.enter(request.user.name, kind);
    try {
      await this.#resource(request, route);
    } finally {
      leave?.();
    }
  }

  async #resource(request: ApiRequest, route: ResourceRoute): Promise<void> {
    const resource = this.#registry.table.find(route);
    if (resource !== undefined) {
      await handleResource(request, route, resource, {
        registry: this.#registry,
        logs: this.#options.logs,
        nodes: this.#options.nodes,
        watchLimits: this.#watchLimits,
        stopping: this.#stopping,
      });
      return;
    }
    const virtual = this.#virtual.get(`${route.group}/${route.version}/${route.resource}`);
    if (virtual === undefined || route.subresource !== '') throw noSuchResource();
    await this.#answerVirtual(request, route, virtual);
  }

  async #answerVirtual(
    request: ApiRequest,
    route: ResourceRoute,
    virtual: VirtualResource,
  ): Promise<void> {
    const { verb, namespace, name } = route;
    if (!virtual.verbs.includes(verb)) throw methodNotAllowed();
    const { group, plural } = virtual;
    const what = { verb, group, resource: plural, subresource: '', namespace, name };
    const decision = await this.#registry.authorizer.authorize(request.user, what);
    if (!decision.allowed) throw forbiddenResource(request.user, what, decision.reason);
    const body = verb === 'create' ? (await readObject(request)).value : undefined;
    const { code, value } = await virtual.handle({ request, verb, namespace, name, body });
    sendValue(request, code, value);
  }

  async #path(request: ApiRequest, { path, verb }: PathRoute): Promise<void> {
    const { user } = request;
    const decision = await this.#registry.authorizer.authorizePath(user, verb, path);
    if (!decision.allowed) throw forbiddenPath(user, verb, path);
    if (verb !== 'get') throw methodNotAllowed();
    const { accept } = request.message.headers;
    const found = this.#discovery.answer(path, accept);
    if (found !== undefined) {
      // Not for caches that do not know Accept: the same path has three forms.
      request.response.setHeader('Vary', 'Accept');
      if (found.etag !== undefined) {
        request.response.setHeader('ETag', found.etag);
        if (isNotModified(request, found.etag)) {
          request.response.writeHead(304).end();
          return;
        }
      }
      sendBytes(request, 200, found.type, found.body);
      return;
    }
    if (path === '/.well-known/openid-configuration') sendValue(request, 200, ISSUER_DOCUMENT);
    else if (path === '/openid/v1/jwks') this.#keys(request);
    else if (path === '/metrics') await this.#metrics(request);
    else if (path === '/version') sendValue(request, 200, versionInfo());
    else if (/^\/openapi\/v(2|3|3\/.*)$/.test(path))
      await sendOpenApi(request, path, this.#openapi);
    else if (/^\/(healthz|livez|readyz)(\/|$)/.test(path)) this.#health(request, path);
    else throw noSuchResource();
  }

  async #metrics(request: ApiRequest): Promise<void> {
    const text = await exposition([
      ...this.#counted.families(this.#inFlight),
      ...(this.#options.families?.() ?? []),
      ...processFamilies(process, systemClock.wallMs()),
    ]);
    sendBytes(request, 200, METRICS_TYPE, Buffer.from(text));
  }

  #keys(request: ApiRequest): void {
    const body = Buffer.from(JSON.stringify(this.#registry.tokens.keySet()));
    sendBytes(request, 200, 'application/jwk-set+json', body);
  }

  /** `/livez` says that the process answers; `/readyz` and `/healthz` ask the parts. */
  #health(request: ApiRequest, path: string): void {
    const [, endpoint = '', name] = path.split('/');
    const all = endpoint === 'livez' ? [] : (this.#options.health ?? []);
    const checks = [{ name: 'ping', check: () => undefined }, ...all].filter(
      (check) => name === undefined || check.name === name,
    );
    if (checks.length === 0) throw noSuchResource();
    const results = checks.map((check) => ({ name: check.name, why: check.check() }));
    const bad = results.filter((result) => result.why !== undefined);
    if (bad.length === 0 && !request.query.has('verbose')) {
      sendText(request, 200, 'ok');
      return;
    }
    const lines = results.map((result) =>
      result.why === undefined ? `[+]${result.name} ok` : `[-]${result.name} failed: ${result.why}`,
    );
    const verdict = bad.length === 0 ? 'passed' : 'failed';
    const text = [...lines, `${endpoint} check ${verdict}`, ''].join('\n');
    sendText(request, bad.length === 0 ? 200 : 500, text);
  }
}
