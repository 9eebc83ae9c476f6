// SPDX-License-Identifier: Apache-2.0
#include "exposition.h"

#include "hffs/telemetry.h"

namespace hffs {
namespace {

using nlohmann::json;

// What goes up and down; all other rows of the table only grow.
bool is_gauge(Metric metric) {
  return metric == Metric::reads_waiting || metric == Metric::overlay_nodes;
}

std::string label(std::string_view value) {
  std::string text;
  for (const char c : value) {
    if (c == '\n') {
      text += "\\n";
      continue;
    }
    if (c == '\\' || c == '"') text += '\\';
    text += c;
  }
  return text;
}

class Text {
 public:
  void begin(std::string_view name, std::string_view kind, std::string_view help) {
    text_ += fmt::format("# HELP hffs_{} {}\n# TYPE hffs_{} {}\n", name, help, name, kind);
  }
  void gauge(std::string_view name, std::string_view help, std::int64_t value) {
    begin(name, "gauge", help);
    text_ += fmt::format("hffs_{} {}\n", name, value);
  }
  void counter(const std::string& name, std::string_view help, std::int64_t value) {
    begin(name + "_total", "counter", help);
    text_ += fmt::format("hffs_{}_total {}\n", name, value);
  }
  void labelled(std::string_view name, std::string_view key, std::string_view of, std::int64_t value) {
    text_ += fmt::format("hffs_{}{{{}=\"{}\"}} {}\n", name, key, label(of), value);
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

}  // namespace

std::string exposition(const json& activity) {
  const json& now = activity.at("now");
  const json& store = now.at("store");
  const json& transfer = now.at("transfer");
  const auto number = [](const json& in, const char* name) { return in.at(name).get<std::int64_t>(); };
  Text text;
  for (int i = 0; i < static_cast<int>(Metric::count_); ++i) {
    const auto metric = static_cast<Metric>(i);
    const MetricInfo& row = info(metric);
    const std::int64_t value = number(now.at("metrics"), row.name.data());
    if (is_gauge(metric))
      text.gauge(row.name, row.help, value);
    else
      text.counter(std::string(row.name), row.help, value);
  }
  text.gauge("store_bytes", "content that is here", number(store, "bytes"));
  text.gauge("store_blobs", "contents that are here, wholly or in part", number(store, "blobs"));
  text.gauge("store_free_bytes", "free space of the file system that the store is on", number(store, "free_bytes"));
  text.gauge("store_limit_bytes", "max_size; 0 is no limit", number(store, "max_size"));
  text.gauge("waiters", "readers that wait for bytes", number(transfer, "waiters"));
  text.gauge("requests_active", "requests to origins under way", number(transfer, "requests"));
  text.gauge("buffered_bytes", "content received that is not in the store yet", number(transfer, "buffered_bytes"));
  text.gauge("readers", "processes that have read a file within a minute, by file",
             static_cast<std::int64_t>(activity.at("readers").size()));
  text.gauge("offline", "1: the daemon is told to ask no Hub", now.at("offline").get<bool>() ? 1 : 0);
  text.counter("worker_restarts", "workers that came after the first one of this mount", number(now, "worker_restarts"));
  text.begin("endpoint_up", "gauge", "1: the endpoint answers; 0: it is known to be down");
  for (const json& endpoint : now.at("endpoints"))
    text.labelled("endpoint_up", "endpoint", endpoint.at("endpoint").get<std::string>(), endpoint.at("up").get<bool>() ? 1 : 0);
  text.begin("build_info", "gauge", "the version of the worker");
  text.labelled("build_info", "version", now.at("version").get<std::string>(), 1);
  return text.take();
}

}  // namespace hffs
