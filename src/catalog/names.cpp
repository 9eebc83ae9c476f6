// SPDX-License-Identifier: Apache-2.0
#include "names.h"

namespace hffs::catalog {
namespace {
constexpr std::string_view kToBlobs = "../../blobs/";
constexpr std::string_view kUp = "../";
}  // namespace

bool is_builtin_ref_directory(std::string_view path) {
  return path == "refs" || path == "refs/pr" || path == "refs/convert";
}

bool reads_like_directory(std::string_view name) {
  return name.find('.') == name.npos;
}

std::string pointer_target(std::uint32_t depth, std::string_view hex) {
  std::string target;
  for (std::uint32_t i = 0; i < depth; ++i) target += kUp;
  target += kToBlobs;
  target += hex;
  return target;
}

std::uint64_t pointer_size(std::uint32_t depth, std::uint32_t hex_length) {
  return depth * kUp.size() + kToBlobs.size() + hex_length;
}

NodeId absent_node(std::uint64_t commit, std::string_view path, bool directory) {
  // FNV-1a: the id must be the same in the next process; std::hash promises no such thing.
  std::uint64_t hash = 0xcbf29ce484222325;
  const auto mix = [&hash](unsigned char byte) { hash = (hash ^ byte) * 0x100000001b3; };
  for (int shift = 0; shift < 64; shift += 8) mix(static_cast<unsigned char>(commit >> shift));
  for (char c : path) mix(static_cast<unsigned char>(c));
  constexpr std::uint64_t kPayload = (std::uint64_t{1} << NodeId::kKindShift) - 1;
  return NodeId::of(directory ? NodeKind::absent_dir : NodeKind::absent_file,
                    (hash ^ hash >> NodeId::kKindShift) & kPayload);
}

Error as_lookup_error(Error error) {
  switch (error.code) {
    case Code::unreachable:
    case Code::timed_out:
    case Code::rate_limited:
    case Code::offline:
    case Code::needs_login:
    case Code::corrupt:
    case Code::invalid:
    case Code::unsupported:
      log(error.code == Code::offline ? Level::debug : Level::warn, "catalog",
          "a name could not be looked up: {}", error.message);
      error.code = Code::not_found;
      return error;
    default:
      return error;
  }
}

}  // namespace hffs::catalog
