// SPDX-License-Identifier: Apache-2.0
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "hffs/telemetry.h"

namespace hffs {
namespace {

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::debug: return spdlog::level::debug;
    case Level::info: return spdlog::level::info;
    case Level::warn: return spdlog::level::warn;
    case Level::error: return spdlog::level::err;
  }
  return spdlog::level::info;
}

}  // namespace

void start_log(Level least, const std::string& file) {
  try {
    auto logger = file.empty() ? spdlog::stderr_color_mt("hffs")
                               : spdlog::basic_logger_mt("hffs", file);
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ %v");
    logger->flush_on(spdlog::level::info);
    logger->set_level(to_spdlog(least));
    spdlog::set_default_logger(std::move(logger));
  } catch (const spdlog::spdlog_ex&) {
    spdlog::set_level(to_spdlog(least));  // the default logger writes to standard output
  }
}

bool log_enabled(Level level) { return spdlog::should_log(to_spdlog(level)); }

void write_log(Level level, std::string_view component, std::string_view text) {
  spdlog::log(to_spdlog(level), fmt::format("{} {}", component, text));
}

}  // namespace hffs
