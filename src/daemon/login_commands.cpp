// SPDX-License-Identifier: Apache-2.0
#include "login_commands.h"

#include "request.h"

namespace hffs {
namespace {

constexpr std::size_t kMostToken = 4'000;

}  // namespace

void LoginCommands::login(const Peer& peer, const nlohmann::json& request,
                          Done<nlohmann::json> done) const {
  if (anonymous_)
    return done(fail(Code::refused, "this mount sends no token (`anonymous` in its configuration): what is public is "
                                    "there without a login, and nothing else is"));
  auto text = text_of(request, "token", std::nullopt);
  if (!text) return done(fail(text));
  auto token = parse_token(std::move(*text), "the token");
  if (!token) return done(fail(token));
  if (token->empty()) return done(fail(Code::invalid, "the token is empty"));
  if (token->reveal().size() > kMostToken) return done(fail(Code::invalid, "the token is too long"));
  const uid_t user = wallet_.owner_of(peer.uid);
  // In a container everybody is uid 0.
  if (user == 0)
    return done(fail(Code::refused, "root's token is the daemon's own: HF_TOKEN or token_file, where the "
                                    "daemon is started"));
  origin_.ask_name(*token, [&access = access_, &wallet = wallet_, user, token = *token,
                            done = std::move(done)](Result<std::string> name) mutable {
    if (!name && name.error().code == Code::needs_login)
      return done(fail(Code::needs_login, "the Hub does not know this token; make one at "
                                          "https://huggingface.co/settings/tokens"));
    if (auto kept = wallet.keep(user, token); !kept) return done(fail(kept));
    access.forget(user);
    log(Level::info, "access", "user {} has logged in{}", user,
        name ? fmt::format(" as {}", *name) : std::string());
    done(nlohmann::json{{"user", user},
                        {"name", name ? nlohmann::json(*name) : nlohmann::json()},
                        {"reason", name ? nlohmann::json() : nlohmann::json(name.error().message)}});
  });
}

Result<nlohmann::json> LoginCommands::logout(const Peer& peer) const {
  const uid_t user = wallet_.owner_of(peer.uid);
  const auto had = wallet_.drop(user);
  if (!had) return fail(Error(had.error()));
  if (*had) access_.forget(user);
  if (*had) log(Level::info, "access", "user {} has logged out", user);
  return nlohmann::json{{"user", user}, {"was_logged_in", *had}};
}

}  // namespace hffs
