// A person with Chromium: `node browser.mjs '{"url": ..., "user": ..., "password": ..., "picture": ...}'`. Signs in at a provider by way of
// our page, and prints where it ended, what it may read there, and its cookies.

import { chromium } from 'playwright-core';

const asked = JSON.parse(process.argv[2]);
const browser = await chromium.launch({
  executablePath: asked.chromium,
  headless: true,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync',
  ],
});
try {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const steps = [];
  await page.goto(`${asked.url}/v1/me`);
  steps.push(page.url());
  await page.screenshot({ path: `${asked.picture}-page.png` });
  await page.getByRole('link', { name: 'Sign in with Corporate' }).click();
  await page.fill('input[name=login]', asked.user);
  await page.fill('input[name=password]', asked.password);
  steps.push(page.url());
  await page.screenshot({ path: `${asked.picture}-provider.png` });
  await page.click('button[type=submit]');
  await page.click('button[type=submit]');
  await page.waitForURL(`${asked.url}/**`);
  steps.push(page.url());
  await page.screenshot({ path: `${asked.picture}-signed-in.png` });
  const shown = await page.evaluate(() => document.body.innerText);
  const cookies = await context.cookies(asked.url);
  process.stdout.write(JSON.stringify({ steps, shown, cookies }));
} finally {
  await browser.close();
}
