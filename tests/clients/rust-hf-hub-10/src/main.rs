// SPDX-License-Identifier: Apache-2.0
//! Prints where hf-hub 1.0 finds FILE of model REPO at REVISION: `client REPO REVISION FILE [CACHE_DIR]`.
//! FILE `.` is the whole snapshot. Without CACHE_DIR it looks where HF_HUB_CACHE says.
use hf_hub::{HFClient, split_id};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut builder = HFClient::builder();
    if let Some(dir) = args.get(3) {
        builder = builder.cache_dir(dir);
    }
    let (owner, name) = split_id(&args[0]);
    let model = builder.build_sync().unwrap().model(owner, name);
    let revision = args[1].clone();
    let found = match args[2].as_str() {
        "." => model.snapshot_download().revision(revision).send(),
        file => model.download_file().filename(file).revision(revision).send(),
    };
    match found {
        Ok(path) => println!("{}", path.display()),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}
