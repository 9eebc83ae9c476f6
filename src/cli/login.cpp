// SPDX-License-Identifier: Apache-2.0
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <iostream>

#include "command_table.h"
#include "hffs/json_text.h"
#include "progress.h"

namespace hffs::cli {
namespace {

struct LoginArguments {
  std::string token_file;  // "-": standard input; empty: the terminal, or HF_TOKEN
  bool json = false;
  DaemonName where;
};

constexpr const char* kLoginHelp = R"(Gives the daemon your token of the Hub, so that the private and gated repositories that you may read are in
the mount: for you alone. It is kept in the daemon's state directory, where no other user can read it.

Not needed where the mount looks at users' own settings (the default with --allow-other): it then finds
HF_TOKEN, HF_TOKEN_PATH and HF_HOME of the program that reads, and ~/.cache/huggingface/token.

Examples:
  hffs login                          asks for the token
  hffs login --token-file ~/.hf-token
  echo "$TOKEN" | hffs login --token-file -)";

constexpr const char* kLogoutHelp = R"(Takes the token back. What was private is gone for you from the next lookup on; files that are open stay open.
A token in your own files or environment is not touched, and still counts.)";

constexpr std::size_t kMostToken = 4'096;

std::string read_from(std::istream& in) {
  std::string text;
  for (char c = 0; text.size() < kMostToken && in.get(c);) text.push_back(c);
  return text;
}

Result<std::string> ask_terminal() {
  termios before{};
  if (::tcgetattr(STDIN_FILENO, &before) != 0)
    return fail(Code::invalid, "no terminal to ask on; use --token-file FILE, or - for standard input");
  termios silent = before;
  silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  // Before it is asked for: what is typed at once is not lost, nor shown.
  ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
  fmt::print(stderr, "Token (from https://huggingface.co/settings/tokens): ");
  std::string line;
  std::getline(std::cin, line);
  ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
  fmt::print(stderr, "\n");
  return line;
}

Result<std::string> load_token(const LoginArguments& words) {
  if (words.token_file == "-") return read_from(std::cin);
  if (words.token_file.empty()) {
    if (auto token = process_environment()("HF_TOKEN"); token && !token->empty()) return std::move(*token);
    return ask_terminal();
  }
  errno = 0;
  std::ifstream file(words.token_file, std::ios::binary);
  if (!file) return fail(system_error(errno != 0 ? errno : EIO, fmt::format("reading {}", words.token_file)));
  return read_from(file);
}

Result<void> login(const LoginArguments& words) {
  auto token = load_token(words);
  if (!token) return fail(token);
  auto answer = ask(words.where, {{"command", "login"}, {"token", std::move(*token)}},
                    std::chrono::seconds(30));
  if (!answer) return fail(answer);
  if (words.json) fmt::print("{}\n", json_text(*answer));
  else if (answer->at("name").is_string())
    fmt::print("logged in as {}\n", text_in(*answer, "name"));
  else
    fmt::print("the token is kept; whose it is could not be asked: {}\n",
               text_in(*answer, "reason"));
  return {};
}

Result<void> logout(const LoginArguments& words) {
  auto answer = ask(words.where, {{"command", "logout"}});
  if (!answer) return fail(answer);
  if (words.json) fmt::print("{}\n", json_text(*answer));
  else
    fmt::print("{}\n", answer->at("was_logged_in").get<bool>() ? "logged out" : "you were not logged in");
  return {};
}

}  // namespace

void add_login(CommandTable& table) {
  auto words = std::make_shared<LoginArguments>();
  auto* in = table.add("login", "Give the daemon your token of the Hub", kLoginHelp, [words] { return login(*words); });
  in->add_option("--token-file", words->token_file, "Where the token is; - is standard input")
      ->type_name("FILE");
  auto* out = table.add("logout", "Take it back", kLogoutHelp, [words] { return logout(*words); });
  for (auto* command : {in, out}) {
    add_json(command, words->json);
    add_daemon(command, words->where);
  }
}

}  // namespace hffs::cli
