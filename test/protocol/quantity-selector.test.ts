/** Quantities, selectors and names: golden values of Kubernetes, and properties that hold for all input. */
import fc from 'fast-check';
import t from 'tap';
import {
  dns1035LabelErrors,
  dnsLabelErrors,
  dnsSubdomainErrors,
  labelKeyErrors,
  labelValueErrors,
} from '../../protocol/names.ts';
import {
  addQuantities,
  canonicalQuantity,
  compareQuantities,
  milliValue,
  parseQuantity,
  QuantityError,
  quantityOfBytes,
  quantityOfMilli,
  subQuantities,
  value,
} from '../../protocol/quantity.ts';
import {
  formatLabelSelector,
  type LabelOperator,
  labelRequirements,
  matchesLabelSelector,
  matchesRequirements,
  parseFieldSelector,
  parseLabelSelector,
  validateLabelSelector,
} from '../../protocol/selector.ts';

t.test('a quantity takes the canonical form in which Kubernetes stores it', (t) => {
  const golden: [string | number, string][] = [
    ['1000m', '1'],
    ['0.5', '500m'],
    ['.5', '500m'],
    ['5.', '5'],
    ['1.5Gi', '1536Mi'],
    ['1024Mi', '1Gi'],
    ['1.3Ki', '1332'],
    ['0.5Ki', '512'],
    ['1025', '1025'],
    ['1e3', '1e3'],
    ['1e2', '100'],
    ['1500e3', '1500e3'],
    ['1000000n', '1m'],
    ['0.1n', '1n'],
    ['1E', '1E'],
    ['1E3', '1e3'],
    ['+3', '3'],
    ['-1.5', '-1500m'],
    ['0Gi', '0'],
    ['-0', '0'],
    ['9223372036854775808', '9223372036854775807'],
    ['1e999999999', '9223372036854775807'],
    ['1e-999999999', '1e-9'],
    [2, '2'],
    [0.1, '100m'],
    [1.5e21, '9223372036854775807'],
    [' 1 ', '1'],
  ];
  for (const [given, want] of golden) t.equal(canonicalQuantity(given), want, `${given}`);
  t.end();
});

t.test('what is no quantity is refused in the words of Kubernetes', (t) => {
  const form = /^quantities must match the regular expression '/;
  const suffix = /^unable to parse quantity's suffix$/;
  const numeric = /^unable to parse numeric part of quantity$/;
  const golden: [string, RegExp][] = [
    ['', form],
    ['abc', form],
    ['1 Gi', form],
    ['1.2.3', form],
    ['9'.repeat(1000), form],
    ['1K', suffix],
    ['1Mi3', suffix],
    ['1e', suffix],
    ['1e+', suffix],
    ['.', numeric],
    ['+', numeric],
    ['Ki', numeric],
  ];
  for (const [given, message] of golden) {
    t.throws(() => parseQuantity(given), { name: 'QuantityError', message }, given.slice(0, 20));
  }
  t.end();
});

t.test('values round up, away from zero, as Kubernetes counts resources', (t) => {
  t.equal(value('1500m'), 2);
  t.equal(value('-1500m'), -2);
  t.equal(value('1Gi'), 1073741824);
  t.equal(value('1m'), 1);
  t.equal(value('110'), 110);
  t.equal(milliValue('250m'), 250);
  t.equal(milliValue('2'), 2000);
  t.equal(milliValue('0.0001'), 1);
  t.equal(milliValue('1Ki'), 1024000);
  t.equal(value('123456789k'), 123456789000);
  t.throws(() => milliValue('x'), QuantityError);
  t.end();
});

t.test('quantities add, subtract and compare exactly', (t) => {
  t.equal(addQuantities('100m', '0.9'), '1');
  t.equal(addQuantities('1Gi', '1'), '1073741825');
  t.equal(addQuantities('0', '1Gi'), '1Gi');
  t.equal(subQuantities('1Gi', '512Mi'), '512Mi');
  t.equal(subQuantities('1', '1500m'), '-500m');
  t.equal(compareQuantities('1Gi', '1073741824'), 0);
  t.ok(compareQuantities('1G', '1Gi') < 0);
  t.ok(compareQuantities('0.1', '99m') > 0);
  t.equal(quantityOfMilli(1500), '1500m');
  t.equal(quantityOfMilli(2000), '2');
  t.equal(quantityOfBytes(512 * 1024 * 1024), '512Mi');
  t.end();
});

const quantities = fc
  .tuple(
    fc.constantFrom('', '-', '+'),
    fc.stringMatching(/^\d{1,12}(\.\d{0,6})?$/),
    fc.constantFrom('', 'n', 'u', 'm', 'k', 'M', 'G', 'Ki', 'Mi', 'Gi', 'e2', 'E-3'),
  )
  .map((parts) => parts.join(''));

t.test('the canonical form is stable and keeps the value, whatever the quantity', (t) => {
  fc.assert(
    fc.property(quantities, (text) => {
      const canonical = canonicalQuantity(text);
      return (
        canonicalQuantity(canonical) === canonical &&
        milliValue(canonical) === milliValue(canonicalQuantity(canonical)) &&
        // Only binary quantities round, and only what is below one.
        (text.endsWith('i') || compareQuantities(text, canonical) === 0)
      );
    }),
    { numRuns: 300 },
  );
  fc.assert(
    fc.property(fc.string({ maxLength: 20 }), (text) => {
      try {
        parseQuantity(text);
      } catch (error) {
        return error instanceof QuantityError;
      }
      return true;
    }),
    { numRuns: 300 },
  );
  t.pass('no counterexample');
  t.end();
});

t.test('a label selector is read with commas inside parentheses, and printed sorted', (t) => {
  const golden: [string, string][] = [
    ['a=b,c in (x,y),!d', 'a=b,c in (x,y),!d'],
    ['', ''],
    ['tier in (b, a),app', 'app,tier in (a,b)'],
    ['x=', 'x='],
    ['x= ,z= ', 'x=,z='],
    ['!x', '!x'],
    ['x>1,z<5', 'x>1,z<5'],
    ['x notin (a)', 'x notin (a)'],
    ['x in ()', 'x in ()'],
    ['x in (,a)', 'x in (,a)'],
    ['in in (in,notin)', 'in in (in,notin)'],
    ['a==b', 'a=b'],
    ['a!=b', 'a!=b'],
    ['example.com/role = web', 'example.com/role=web'],
  ];
  for (const [given, want] of golden) {
    t.equal(formatLabelSelector(parseLabelSelector(given)), want, given);
  }
  t.end();
});

t.test('a label selector that cannot be read is refused where it stops to make sense', (t) => {
  const golden: [string, string][] = [
    ['x==a==b', "found '==', expected: ',' or 'end of string'"],
    ['!x=a', "found '=', expected: ',' or 'end of string'"],
    ['a,', "found '', expected: identifier after ','"],
    [',', "found ',', expected: !, identifier, or 'end of string'"],
    ['a b', "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"],
    ['a in x', "unable to parse requirement: found 'x' expected: '('"],
    ['a in (x', "unable to parse requirement: found '', expected: ',' or ')'"],
    ['!', "unable to parse requirement: found '', expected: identifier"],
    ['a=(', "unable to parse requirement: found '(', expected: identifier"],
  ];
  for (const [given, message] of golden) {
    t.throws(() => parseLabelSelector(given), { name: 'ApiError', code: 400, message }, given);
  }
  t.throws(() => parseLabelSelector('a$=b'), {
    message: /<nil>: Invalid value: "a\$": name part must consist of alphanumeric characters/,
  });
  t.throws(() => parseLabelSelector('a=b|c'), { message: /a valid label must be an empty string/ });
  t.throws(() => parseLabelSelector('a>b'), { message: /the value must be an integer/ });
  t.end();
});

t.test('requirements match labels as documented', (t) => {
  const labels = { app: 'web', tier: 'front', cores: '4' };
  const matching = ['', 'app=web', 'app!=db', 'none!=x', 'tier in (front,back)', 'none notin (x)'];
  const others = ['app=db', 'app!=web', 'tier notin (front)', 'none', '!app', 'none in (x)'];
  for (const text of [...matching, 'app', '!none', 'cores>3', 'cores<10']) {
    t.equal(matchesRequirements(parseLabelSelector(text), labels), true, text);
  }
  for (const text of [...others, 'cores>4', 'app>1', 'none<5', 'constructor', 'toString=x']) {
    t.equal(matchesRequirements(parseLabelSelector(text), labels), false, text);
  }
  t.equal(matchesRequirements(parseLabelSelector('!a'), undefined), true);
  t.end();
});

t.test('the selector of a manifest: empty matches everything, absent nothing', (t) => {
  t.equal(matchesLabelSelector({}, { a: 'b' }), true);
  t.equal(matchesLabelSelector(undefined, { a: 'b' }), false);
  const selector = {
    matchLabels: { app: 'web' },
    matchExpressions: [{ key: 'tier', operator: 'In', values: ['b', 'a'] }],
  };
  t.equal(matchesLabelSelector(selector, { app: 'web', tier: 'a' }), true);
  t.equal(matchesLabelSelector(selector, { app: 'web' }), false);
  t.equal(matchesLabelSelector(selector, undefined), false);
  t.equal(formatLabelSelector(labelRequirements(selector)), 'app=web,tier in (a,b)');
  const wrong = { matchExpressions: [{ key: 'a', operator: 'Gt', values: ['1'] }] };
  t.throws(() => matchesLabelSelector(wrong, { a: '2' }), {
    message: '"Gt" is not a valid label selector operator',
  });
  t.end();
});

t.test('validation of a selector names the field', (t) => {
  const errors = validateLabelSelector(
    {
      matchLabels: { 'a/b/c': 'ok', fine: '-' },
      matchExpressions: [
        { key: 'k', operator: 'In' },
        { key: 'k', operator: 'Exists', values: ['x'] },
        { key: '', operator: 'Near', values: ['#'] },
      ],
    },
    'spec.selector',
  );
  t.same(
    errors.map((e) => e.field),
    [
      'spec.selector.matchLabels',
      'spec.selector.matchLabels',
      'spec.selector.matchExpressions[0].values',
      'spec.selector.matchExpressions[1].values',
      'spec.selector.matchExpressions[2].operator',
      'spec.selector.matchExpressions[2].key',
      'spec.selector.matchExpressions[2].key',
      'spec.selector.matchExpressions[2].values[0]',
    ],
  );
  t.match(errors[0]?.message, /^Invalid value: "a\/b\/c": a valid label key must consist/);
  t.match(errors[2]?.message, /^Required value: must be specified when `operator` is 'In'/);
  t.match(errors[4]?.message, 'Invalid value: "Near": not a valid selector operator');
  t.end();
});

t.test('what is printed reads back as the same selector', (t) => {
  const word = fc.stringMatching(/^[a-z]([-a-z0-9._]{0,10}[a-z0-9])?$/);
  const operators: LabelOperator[] = ['Equals', 'NotEquals', 'In', 'NotIn', 'Exists', 'Gt', 'Lt'];
  const requirement = fc
    .tuple(word, fc.constantFrom(...operators, 'DoesNotExist' as const), fc.array(word), fc.nat())
    .map(([key, operator, words, number]) => {
      if (operator === 'Exists' || operator === 'DoesNotExist')
        return { key, operator, values: [] };
      if (operator === 'Gt' || operator === 'Lt') {
        return { key, operator, values: [String(number)] };
      }
      const set = [...new Set(['x', ...words])].sort();
      return { key, operator, values: operator.endsWith('n') ? set : ['x'] };
    });
  fc.assert(
    fc.property(fc.uniqueArray(requirement, { selector: (r) => r.key, maxLength: 5 }), (list) => {
      const sorted = [...list].sort((a, b) => (a.key < b.key ? -1 : 1));
      return t.same(parseLabelSelector(formatLabelSelector(list)), sorted);
    }),
    { numRuns: 100 },
  );
  t.end();
});

t.test('field selectors split at commas that are not escaped', (t) => {
  t.same(parseFieldSelector('metadata.name==x,spec.nodeName!=pi4'), [
    { path: 'metadata.name', operator: '=', value: 'x' },
    { path: 'spec.nodeName', operator: '!=', value: 'pi4' },
  ]);
  t.same(parseFieldSelector('a=b\\,c\\=d\\\\'), [{ path: 'a', operator: '=', value: 'b,c=d\\' }]);
  t.same(parseFieldSelector('a='), [{ path: 'a', operator: '=', value: '' }]);
  t.same(parseFieldSelector(''), []);
  t.throws(() => parseFieldSelector('a'), {
    code: 400,
    message: "invalid selector: 'a'; can't understand 'a'",
  });
  t.throws(() => parseFieldSelector('a=b=c'), { code: 400, message: /unescaped '='/ });
  t.throws(() => parseFieldSelector('a=\\x'), { code: 400, message: /invalid escape sequence/ });
  t.throws(() => parseFieldSelector('a=b\\'), { code: 400, message: /within an escape sequence/ });
  t.end();
});

t.test('names: good ones pass, and each bad one says which rule it breaks', (t) => {
  for (const key of ['app', 'a.b/c', 'kubernetes.io/hostname', 'A_b.c-9']) {
    t.same(labelKeyErrors(key), [], key);
  }
  t.match(labelKeyErrors('/a'), ['prefix part must be non-empty']);
  t.match(labelKeyErrors('A.b/c')[0], /^prefix part a lowercase RFC 1123 subdomain must consist/);
  t.match(labelKeyErrors('a'.repeat(64))[0], 'name part must be no more than 63 bytes');
  t.match(labelKeyErrors('-a')[0], "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used");
  t.same(labelValueErrors(''), []);
  t.equal(labelValueErrors('b'.repeat(64)).length, 1);
  t.same(dnsLabelErrors('pi-4'), []);
  t.same(dnsLabelErrors('a.b'), ['must not contain dots']);
  t.match(dnsLabelErrors('Pi')[0], 'a lowercase RFC 1123 label must consist');
  t.same(dnsSubdomainErrors('a.b-c.d'), []);
  t.equal(dnsSubdomainErrors(`${'a.'.repeat(127)}`).length, 2);
  t.same(dns1035LabelErrors('web'), []);
  t.match(dns1035LabelErrors('4web')[0], 'a DNS-1035 label must consist');
  t.end();
});
