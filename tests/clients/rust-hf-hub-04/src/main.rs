// SPDX-License-Identifier: Apache-2.0
//! Prints where hf-hub 0.4 finds FILE of model REPO at REVISION: `client REPO REVISION FILE [CACHE_DIR]`.
//! Without CACHE_DIR it looks where HF_HOME says.
use hf_hub::{api::sync::ApiBuilder, Repo, RepoType};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut builder = ApiBuilder::from_env().with_progress(false);
    if let Some(dir) = args.get(3) {
        builder = builder.with_cache_dir(dir.into());
    }
    let api = builder.build().unwrap();
    let repo = Repo::with_revision(args[0].clone(), RepoType::Model, args[1].clone());
    match api.repo(repo).get(&args[2]) {
        Ok(path) => println!("{}", path.display()),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}
