// SPDX-License-Identifier: Apache-2.0
#include "hffs/content_hash.h"

#include <openssl/evp.h>

#include <array>

namespace hffs {

void ContentHash::FreeContext::operator()(evp_md_ctx_st* context) const {
  EVP_MD_CTX_free(context);
}

Result<ContentHash> ContentHash::start(BlobId::Kind kind, std::uint64_t size) {
  ContentHash hash;
  hash.context_.reset(EVP_MD_CTX_new());
  const bool git = kind == BlobId::Kind::git_sha1;
  if (!hash.context_ ||
      EVP_DigestInit_ex(hash.context_.get(), git ? EVP_sha1() : EVP_sha256(), nullptr) != 1)
    return fail(Code::unsupported, "OpenSSL offers no {} here", git ? "SHA-1" : "SHA-256");
  if (git) {
    const std::string header = fmt::format("blob {}", size);
    // With the terminating NUL, which is part of what git hashes.
    auto fed = hash.update(std::as_bytes(std::span(header.c_str(), header.size() + 1)));
    if (!fed) return fail(fed);
  }
  return hash;
}

Result<void> ContentHash::update(std::span<const std::byte> bytes) {
  if (EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) != 1)
    return fail(Code::bug, "OpenSSL failed to hash {} bytes", bytes.size());
  return {};
}

Result<std::string> ContentHash::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_DigestFinal_ex(context_.get(), digest.data(), &size) != 1)
    return fail(Code::bug, "OpenSSL failed to finish a hash");
  std::string hex;
  for (unsigned i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

}  // namespace hffs
