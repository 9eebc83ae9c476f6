// SPDX-License-Identifier: Apache-2.0
//
// The table of commands: what each is called, what its help says, and what runs it. Help, completion and the manual pages
// are made from it. And the options that commands share, each of which is called and described once. Threads: main only.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "ask.h"
#include "hffs/error.h"
#include "hffs/globs.h"

namespace hffs::cli {

class CommandTable {
 public:
  explicit CommandTable(CLI::App& app) : app_(app) {}

  // What is added from here on stands under this heading.
  void begin(std::string heading) { heading_ = std::move(heading); }

  // `run` gives nothing, or an exit code; by then the options have been read.
  template <class Run>
  CLI::App* add(const char* name, const char* summary, const char* help, Run run) {
    if constexpr (std::is_same_v<std::invoke_result_t<Run>, Result<int>>)
      return add_command(name, summary, help, std::move(run));
    else
      return add_command(name, summary, help, [run = std::move(run)]() -> Result<int> {
        if (auto done = run(); !done) return fail(done);
        return 0;
      });
  }
  Result<int> run(const std::string& name) const { return runs_.at(name)(); }
  // Where all of it stands; the commands of the heading "" are shown nowhere.
  const CLI::App& app() const { return app_; }

 private:
  CLI::App* add_command(const char* name, const char* summary, const char* help, std::function<Result<int>()> run);

  CLI::App& app_;
  std::string heading_;
  std::map<std::string, std::function<Result<int>()>> runs_;
};

// What a mount may be told, and what `hffs config check` may be asked about.
void add_settings(CLI::App* command, Flags& flags);
void add_endpoint(CLI::App* command, Flags& flags, const char* what);
// A flag that says nothing where it is not given.
void add_switch(CLI::App* command, const char* name, std::optional<bool>& value, const char* what);

void add_json(CLI::App* command, bool& json);
void add_repo(CLI::App* command, std::string& repo);
void add_globs(CLI::App* command, Globs& files);
void add_state_dir(CLI::App* command, Flags& flags);
// --mount and --state-dir: the daemon that a command means.
void add_daemon(CLI::App* command, DaemonName& where);

}  // namespace hffs::cli
