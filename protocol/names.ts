/**
 * What names, label keys and label values may look like, and how Kubernetes words it when they do not.
 * Each function returns one sentence per broken rule and an empty list for a good value. Pure.
 *
 * Source: "Object Names and IDs" and "Labels and Selectors" in the documentation of Kubernetes; the wording
 * is that of its API server, because users search the web for it.
 */
const LABEL_CHARS = '[A-Za-z0-9]';
const LABEL_KEY = `(${LABEL_CHARS}[-A-Za-z0-9_.]*)?${LABEL_CHARS}`;
const DNS_LABEL = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const DNS_SUBDOMAIN = `${DNS_LABEL}(\\.${DNS_LABEL})*`;
const DNS_1035_LABEL = '[a-z]([-a-z0-9]*[a-z0-9])?';

const labelKeyRegExp = new RegExp(`^${LABEL_KEY}$`);
const labelValueRegExp = new RegExp(`^(${LABEL_KEY})?$`);
const dnsLabelRegExp = new RegExp(`^${DNS_LABEL}$`);
const dnsSubdomainRegExp = new RegExp(`^${DNS_SUBDOMAIN}$`);
const dns1035LabelRegExp = new RegExp(`^${DNS_1035_LABEL}$`);

const LABEL_LENGTH_MAX = 63;
const SUBDOMAIN_LENGTH_MAX = 253;

/** A label or annotation key: a name of up to 63 characters, with an optional DNS subdomain and "/" before it. */
export function labelKeyErrors(key: string): string[] {
  const rule = regExpError(
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    LABEL_KEY,
    ['MyName', 'my.name', '123-abc'],
  );
  const parts = key.split('/');
  if (parts.length > 2) {
    const hint = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
    return [`a valid label key ${rule} ${hint}`];
  }
  const errors: string[] = [];
  const name = parts.at(-1) ?? '';
  const prefix = parts.length === 2 ? parts[0] : undefined;
  if (prefix === '') errors.push('prefix part must be non-empty');
  else if (prefix !== undefined) {
    errors.push(...dnsSubdomainErrors(prefix).map((e) => `prefix part ${e}`));
  }
  if (name === '') errors.push('name part must be non-empty');
  else if (name.length > LABEL_LENGTH_MAX) errors.push(`name part ${tooLong(LABEL_LENGTH_MAX)}`);
  if (!labelKeyRegExp.test(name)) errors.push(`name part ${rule}`);
  return errors;
}

/** A label value: empty, or up to 63 characters. */
export function labelValueErrors(value: string): string[] {
  const errors: string[] = [];
  if (value.length > LABEL_LENGTH_MAX) errors.push(tooLong(LABEL_LENGTH_MAX));
  if (!labelValueRegExp.test(value)) {
    errors.push(
      regExpError(
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
        `(${LABEL_KEY})?`,
        ['MyValue', 'my_value', '12345'],
      ),
    );
  }
  return errors;
}

/** A DNS label (RFC 1123): names of namespaces, services, containers. */
export function dnsLabelErrors(value: string): string[] {
  const errors: string[] = [];
  if (value.length > LABEL_LENGTH_MAX) errors.push(tooLong(LABEL_LENGTH_MAX));
  if (dnsLabelRegExp.test(value)) return errors;
  if (dnsSubdomainRegExp.test(value)) return [...errors, 'must not contain dots'];
  return [
    ...errors,
    regExpError(
      "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
      DNS_LABEL,
      ['my-name', '123-abc'],
    ),
  ];
}

/** A DNS subdomain (RFC 1123): names of most objects. */
export function dnsSubdomainErrors(value: string): string[] {
  const errors: string[] = [];
  if (value.length > SUBDOMAIN_LENGTH_MAX) errors.push(tooLong(SUBDOMAIN_LENGTH_MAX));
  if (!dnsSubdomainRegExp.test(value)) {
    errors.push(
      regExpError(
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
        DNS_SUBDOMAIN,
        ['example.com'],
      ),
    );
  }
  return errors;
}

/** A DNS label that begins with a letter (RFC 1035): names of Services. */
export function dns1035LabelErrors(value: string): string[] {
  const errors: string[] = [];
  if (value.length > LABEL_LENGTH_MAX) errors.push(tooLong(LABEL_LENGTH_MAX));
  if (!dns1035LabelRegExp.test(value)) {
    errors.push(
      regExpError(
        "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
        DNS_1035_LABEL,
        ['my-name', 'abc-123'],
      ),
    );
  }
  return errors;
}

function tooLong(max: number): string {
  return `must be no more than ${max} bytes`;
}

function regExpError(sentence: string, regExp: string, examples: string[]): string {
  const list = examples.map((e) => `'${e}', `).join(' or ');
  return `${sentence} (e.g. ${list}regex used for validation is '${regExp}')`;
}
