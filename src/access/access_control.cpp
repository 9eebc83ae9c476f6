// SPDX-License-Identifier: Apache-2.0
#include "hffs/access.h"

namespace hffs {
namespace {

class AllowEverybody final : public AccessControl {
 public:
  void decide(const Caller&, const RepoId&, Done<void> done) override { done({}); }
};

}  // namespace

std::unique_ptr<AccessControl> allow_everybody() { return std::make_unique<AllowEverybody>(); }

}  // namespace hffs
