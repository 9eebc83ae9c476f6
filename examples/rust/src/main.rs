// SPDX-License-Identifier: Apache-2.0
//! hf-hub 1.0 for Rust: the path of one file of a model. HF_HUB_CACHE says where it is.
//!
//!     HF_HUB_CACHE=/mnt/hf cargo run --manifest-path examples/rust/Cargo.toml [MODEL [FILE]]
use hf_hub::{HFClient, split_id};

fn main() {
    let mut words = std::env::args().skip(1);
    let model = words.next().unwrap_or("openai/whisper-tiny".into());
    let file = words.next().unwrap_or("config.json".into());
    let (owner, name) = split_id(&model);
    let client = HFClient::builder().build_sync().expect("a client");
    let path = client.model(owner, name).download_file().filename(file).revision("main".to_string()).send().expect("the file");
    println!("{}", path.display());
    println!("bytes {}", std::fs::read(&path).expect("its content").len());
}
