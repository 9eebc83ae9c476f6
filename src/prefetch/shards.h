// SPDX-License-Identifier: Apache-2.0
//
// Shards: files that are parts of one model, by their names ("model-00001-of-00008.safetensors"), as
// transformers and diffusers write them (huggingface_hub 2.4.0, serialization/_base.py).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace hffs::prefetch {

class Shard {
 public:
  // Nothing: the name is not one of a shard.
  static std::optional<Shard> parse(std::string_view path);
  bool is_followed_by(std::string_view path) const;

 private:
  std::string before_, behind_;  // around the number
  unsigned number_ = 0;
};

}  // namespace hffs::prefetch
