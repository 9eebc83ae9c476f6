// SPDX-License-Identifier: Apache-2.0
//
// The hash that a blob's name is: SHA-256 of the bytes (64 hex), or git's blob hash (40 hex): SHA-1
// of "blob SIZE\0" and the bytes. Threads: a value with one owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "hffs/error.h"
#include "hffs/ids.h"

struct evp_md_ctx_st;

namespace hffs {

class ContentHash {
 public:
  static Result<ContentHash> start(BlobId::Kind kind, std::uint64_t size);
  Result<void> update(std::span<const std::byte> bytes);
  // Lowercase hex; ends this hash.
  Result<std::string> finish();

 private:
  struct FreeContext {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, FreeContext> context_;
};

}  // namespace hffs
