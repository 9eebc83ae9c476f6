// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace hffs::test {

inline constexpr std::uint64_t kKiB = 1024, kMiB = kKiB * kKiB, kGiB = kMiB * kKiB;

}  // namespace hffs::test
