/**
 * Forms of names that only fields of objects have (names of objects and labels: protocol/names.ts), each a
 * function from a value to the reasons why it is not one. Wording as k8s.io/apimachinery util/validation.
 */
const CONFIG_KEY = '[-._a-zA-Z0-9]+';
const PERCENT = '[0-9]+%';
const HEADER_NAME = '[-A-Za-z0-9]+';

const CONFIG_KEY_REGEXP = new RegExp(`^${CONFIG_KEY}$`);
const PERCENT_REGEXP = new RegExp(`^${PERCENT}$`);
const HEADER_NAME_REGEXP = new RegExp(`^${HEADER_NAME}$`);
const ENV_NAME_REGEXP = /^[\x20-\x3c\x3e-\x7e]+$/;

/** The sentence, examples, and the pattern: the commas before "or" are Kubernetes' own. */
function patternReason(sentence: string, pattern: string, examples: readonly string[]) {
  const list = examples.map((example) => `'${example}', `).join(' or ');
  return `${sentence} (e.g. ${list}regex used for validation is '${pattern}')`;
}

function tooLongReason(value: string, charactersMax: number): string[] {
  return value.length > charactersMax ? [`must be no more than ${charactersMax} characters`] : [];
}

export function inclusiveRange(min: number, max: number): string {
  return `must be between ${min} and ${max}, inclusive`;
}

/** Keys of ConfigMaps and Secrets, which become file names. */
export function configKeyReasons(value: string): string[] {
  const reasons = tooLongReason(value, 253);
  if (!CONFIG_KEY_REGEXP.test(value)) {
    const sentence = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
    reasons.push(patternReason(sentence, CONFIG_KEY, ['key.name', 'KEY_NAME', 'key-name']));
  }
  if (value === '.') reasons.push("must not be '.'");
  else if (value === '..') reasons.push("must not be '..'");
  else if (value.startsWith('..')) reasons.push("must not start with '..'");
  return reasons;
}

/** Since 1.34 Kubernetes takes every printable ASCII character but '='. */
export function envNameReasons(value: string): string[] {
  if (ENV_NAME_REGEXP.test(value)) return [];
  return [
    "a valid environment variable name must consist only of printable ASCII characters other than '='",
  ];
}

/** IANA service name, as container ports have. */
export function portNameReasons(value: string): string[] {
  const reasons = tooLongReason(value, 15);
  if (!/^[-a-z0-9]+$/.test(value)) {
    reasons.push('must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)');
  }
  if (!/[a-z]/.test(value)) reasons.push('must contain at least one letter (a-z)');
  if (value.includes('--')) reasons.push('must not contain consecutive hyphens');
  if (value.startsWith('-') || value.endsWith('-')) {
    reasons.push('must not begin or end with a hyphen');
  }
  return reasons;
}

export function portNumberReasons(port: number): string[] {
  return Number.isInteger(port) && port >= 1 && port <= 65_535 ? [] : [inclusiveRange(1, 65_535)];
}

export function percentReasons(value: string): string[] {
  if (PERCENT_REGEXP.test(value)) return [];
  const sentence = "a valid percent string must be a numeric string followed by an ending '%'";
  return [patternReason(sentence, PERCENT, ['1%', '93%'])];
}

export function headerNameReasons(value: string): string[] {
  if (HEADER_NAME_REGEXP.test(value)) return [];
  const sentence = "a valid HTTP header must consist of alphanumeric characters or '-'";
  return [patternReason(sentence, HEADER_NAME, ['X-Header-Name'])];
}
