// SPDX-License-Identifier: Apache-2.0
// @huggingface/hub: `node client.mjs DIR REPO REVISION FILE`; a line of JSON per step, as scripts/steps.py.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { downloadFileToCacheDir, scanCacheDir, snapshotDownload } from "@huggingface/hub";

const [dir, repo, revision, file] = process.argv.slice(2);
const hubUrl = process.env.HF_ENDPOINT;
const cacheDir = dir || undefined;
const sha256 = (path) => createHash("sha256").update(readFileSync(path)).digest("hex");

async function run(step, work) {
  process.stderr.write(`\n=== step ${step}\n`);
  try {
    console.log(JSON.stringify({ step, ...(await work()) }));
  } catch (error) {
    console.log(JSON.stringify({ step, error: error.name, text: String(error) }));
  }
}

await run("file", async () => {
  const path = await downloadFileToCacheDir({ repo, path: file, revision, cacheDir, hubUrl });
  return { path, sha256: sha256(path) };
});
await run("snapshot", async () => {
  const path = await snapshotDownload({ repo, revision, cacheDir, hubUrl });
  return { path, sha256: sha256(join(path, file)) };
});
await run("scan", async () => {
  const seen = await scanCacheDir(cacheDir);
  return { repos: seen.repos.map((each) => each.id.name).sort(), warnings: seen.warnings.map(String) };
});
