// The brokers of this user, and what dead ones left, as far as this process can see: what `ipcq list` and `ipcq clean`
// use. The constructor takes one look at the system without a lock, so a broker may start or end meanwhile. For one
// thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "broker/broker_names.hpp"
#include "ipcq/admin.hpp"

namespace ipcq::detail {

class BrokerList {
 public:
  BrokerList();
  // Sorted by name.
  std::vector<BrokerEntry> take() &&;

 private:
  struct Found {
    BrokerEntry entry;
    Listener listener{};
    bool has_died = false;  // it left its lock file or its record
  };
  void add_run_directory();
  void add_records(const std::vector<FoundRecord>& records);
  void add_segments(const std::vector<FoundRecord>& records);
  static bool read_place(const BrokerPlace& place, Found& found);
  static void judge_listener(Found& found);

  std::map<std::string, Found> found_;  // by tag
};

}  // namespace ipcq::detail
