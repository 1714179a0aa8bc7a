// Tokens as nobody's library would make them: reads [{header, claims, sign, ...}] from standard input, writes texts.

import { createHmac, createPrivateKey, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';

const { key, cases } = JSON.parse(readFileSync(0, 'utf8'));
const own = createPrivateKey({ key, format: 'jwk' });
const foreign = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
const encode = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const rsa = (digest, by) => (text) => sign(digest, Buffer.from(text), by);

// Public halves as those have them who try them as a secret.
const spki = createPublicKey(own).export({ type: 'spki', format: 'pem' });
const modulus = Buffer.from(key.n, 'base64url');
const hmac = (secret) => (text) => createHmac('sha256', secret).update(text).digest();

const SIGNERS = {
  own: rsa('sha256', own),
  sha512: rsa('sha512', own),
  foreign: rsa('sha256', foreign),
  none: () => Buffer.alloc(0),
  pem: hmac(spki),
  jwk: hmac(JSON.stringify(createPublicKey(own).export({ format: 'jwk' }))),
  modulus: hmac(modulus),
  empty: hmac(''),
};
const FOREIGN_JWK = { ...createPublicKey(foreign).export({ format: 'jwk' }), use: 'sig', alg: 'RS256' };

function token({ header, claims, sign: by, raw, mangle }) {
  if (raw !== undefined) return raw;
  const shown = { ...header };
  if (shown.jwk === '$foreign') shown.jwk = FOREIGN_JWK;
  if (shown.jwk === '$foreign-as-own') shown.jwk = { ...FOREIGN_JWK, kid: key.kid };
  const text = `${encode(shown)}.${encode(claims)}`;
  const made = `${text}.${SIGNERS[by](text).toString('base64url')}`;
  if (mangle === 'claims') {
    const other = encode({ ...claims, sub: 'somebody-else' });
    const [first, , last] = made.split('.');
    return `${first}.${other}.${last}`;
  }
  if (mangle === 'signature') return `${made.slice(0, -6)}AAAAAA`;
  if (mangle === 'no-signature') return `${text}.`;
  if (mangle === 'four-parts') return `${made}.x`;
  if (mangle === 'padded') return `${made}==`;
  return made;
}

process.stdout.write(JSON.stringify(cases.map(token)));
