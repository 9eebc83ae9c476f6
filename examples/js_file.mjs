// SPDX-License-Identifier: Apache-2.0
// @huggingface/hub: the path of one file of a model. HF_HUB_CACHE says where it is.
//
//     npm install @huggingface/hub
//     HF_HUB_CACHE=/mnt/hf node examples/js_file.mjs [MODEL [FILE]]
//
// It asks the Hub for the file's commit, and fetches no content: the mount has it.
import { readFileSync } from "node:fs";
import { downloadFileToCacheDir } from "@huggingface/hub";

const [repo = "openai/whisper-tiny", path = "config.json"] = process.argv.slice(2);
const file = await downloadFileToCacheDir({ repo, path, hubUrl: process.env.HF_ENDPOINT });
console.log(file);
console.log("bytes", readFileSync(file).length);
