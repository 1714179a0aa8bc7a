// A certified OpenID provider for the tests: `node provider.mjs SETTINGS.json`. It prints "ready" once it listens on loopback.
//
// Users are read again for each token, so that a test can change them. What it was asked about is appended to a file.

import { appendFileSync, readFileSync } from 'node:fs';
import { Provider } from 'oidc-provider';

const settings = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const issuer = `http://127.0.0.1:${settings.port}`;
const users = () => JSON.parse(readFileSync(settings.users, 'utf8'));

function claimsOf(name) {
  const user = users()[name];
  return user && { sub: user.sub ?? name, preferred_username: user.name ?? name, ...user.claims };
}

const client = (id) => ({
  client_id: id,
  client_secret: settings.secret,
  grant_types: ['authorization_code', 'password'],
  redirect_uris: settings.redirects ?? ['http://127.0.0.1:1/unused'],
});

const resourceIndicators = {
  enabled: true,
  useGrantedResource: () => true,
  getResourceServerInfo: (_, resource) => ({
    scope: 'openid profile roles',
    audience: resource,
    accessTokenFormat: 'jwt',
    accessTokenTTL: 3600,
    jwt: { sign: { alg: settings.algorithm } },
  }),
};

const provider = new Provider(issuer, {
  clients: ['shop', 'other-app'].map(client),
  jwks: settings.jwks,
  scopes: ['openid', 'profile', 'roles'],
  claims: { openid: ['sub'], profile: ['preferred_username', 'company'], roles: ['resource_access'] },
  findAccount: (_, name) => users()[name] && { accountId: name, claims: () => claimsOf(name) },
  // JWTs say who somebody is; of opaque tokens that is told where users are told about.
  extraTokenClaims: (_, token) => (token.aud ? claimsOf(token.accountId) : undefined),
  features: {
    devInteractions: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    userinfo: { enabled: true },
    resourceIndicators,
  },
  ttl: { AccessToken: 3600 },
});

provider.registerGrantType('password', async (ctx) => {
  const { client: from, params } = ctx.oidc;
  const user = users()[params.username];
  if (!user || user.password !== params.password) {
    ctx.status = 400;
    ctx.body = { error: 'invalid_grant' };
    return;
  }
  const scope = 'openid profile roles';
  const grant = new provider.Grant({ accountId: params.username, clientId: from.clientId });
  grant.addOIDCScope(scope);
  const { AccessToken, ResourceServer } = provider;
  const token = new AccessToken({
    accountId: params.username, client: from, grantId: await grant.save(), gty: 'password', scope,
  });
  if (params.resource) {
    const info = resourceIndicators.getResourceServerInfo(ctx, params.resource);
    token.resourceServer = new ResourceServer(params.resource, info);
  }
  ctx.body = { access_token: await token.save(), expires_in: token.expiration, token_type: 'Bearer', scope };
}, ['username', 'password', 'resource', 'scope'], []);

provider.use(async (ctx, next) => {
  await next();
  const asked = { path: ctx.path, token: ctx.oidc?.params?.token };
  appendFileSync(settings.log, `${JSON.stringify(asked)}\n`);
});
provider.on('server_error', (_, error) => process.stderr.write(`${error.stack}\n`));
provider.listen(settings.port, '127.0.0.1', () => process.stdout.write('ready\n'));
