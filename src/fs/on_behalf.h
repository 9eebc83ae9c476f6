// SPDX-License-Identifier: Apache-2.0
//
// Asks the catalog for a caller: what that makes the Hub be asked is charged to him (budget.h). A
// question is asked once for all who ask it meanwhile; who joined that of one who may not asks it
// himself, for a refusal is of who was refused. Threads: any; nothing blocks.
#pragma once

#include <functional>
#include <memory>

#include "hffs/budget.h"

namespace hffs::fs {

inline constexpr int kMostJoins = 3;

// `ask` may be called more than once. `refused`: what it is to the caller that he may not ask.
template <class T>
void on_behalf(const Caller& caller, std::function<void(Done<T>)> ask,
               std::function<Error(Error)> refused, Done<T> done, int tries = kMostJoins) {
  const auto asker = std::make_shared<Asker>(caller);
  const Asking asking(asker);
  ask([asker, ask, refused, tries, done = std::move(done)](Result<T> answer) mutable {
    const bool not_asked = !answer && answer.error().code == Code::over_quota;
    const auto why = not_asked ? asker->refused() : std::nullopt;
    if (not_asked && !why && tries > 0)
      return on_behalf<T>(asker->caller, std::move(ask), std::move(refused), std::move(done),
                          tries - 1);
    if (not_asked) answer = fail(refused(why.value_or(std::move(answer.error()))));
    done(std::move(answer));
  });
}

}  // namespace hffs::fs
