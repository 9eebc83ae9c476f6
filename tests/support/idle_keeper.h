// SPDX-License-Identifier: Apache-2.0
//
// A keeper that has nothing to keep: what looks at backing files derives from it.
#pragma once

#include "hffs/keeper.h"

namespace hffs::test {

class IdleKeeper : public Keeper {
 public:
  Result<std::unique_ptr<Handover>> handover() override { return fail(Code::refused, "no"); }
  Result<void> take_turn() override { return fail(Code::refused, "no"); }
  Result<UniqueFd> mount() override { return fail(Code::refused, "no"); }
  Result<UniqueFd> read_token(uid_t, pid_t) override { return fail(Code::unsupported, "no"); }
  Result<void> unmount() override { return {}; }
  void abort() override {}
  void ask_replacement() override {}
  void tell_ready() override {}
  void tell_failed(const Error&) override {}
};

}  // namespace hffs::test
