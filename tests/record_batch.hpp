// A record batch (ipcq/records.hpp) as a producer writes it, for tests that write lines and payloads by hand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "ipcq/records.hpp"

namespace ipcq_test {

class RecordBatch {
 public:
  RecordBatch() = default;
  explicit RecordBatch(const std::vector<std::string>& records) {
    bytes_.resize(sizeof(ipcq::RecordsHead));
    std::vector<std::uint32_t> ends;
    for (const std::string& r : records) {
      pad();
      const auto* const data = reinterpret_cast<const std::byte*>(r.data());
      bytes_.insert(bytes_.end(), data, data + r.size());
      ends.push_back(static_cast<std::uint32_t>(bytes_.size()));
    }
    pad();
    const ipcq::RecordsHead head{static_cast<std::uint32_t>(records.size()), static_cast<std::uint32_t>(bytes_.size()),
                                 0, 0};
    index_at_ = head.index_at;
    bytes_.resize(bytes_.size() + ends.size() * sizeof(std::uint32_t));
    std::memcpy(bytes_.data(), &head, sizeof head);
    std::memcpy(bytes_.data() + index_at_, ends.data(), ends.size() * sizeof(std::uint32_t));
  }

  // At a multiple of 16, as payloads are.
  std::byte* data() { return bytes_.data(); }
  std::size_t size() const { return bytes_.size(); }
  const std::vector<std::byte>& bytes() const { return bytes_; }
  ipcq::Records records() const { return {bytes_.data(), bytes_.size()}; }
  ipcq::RecordsHead head() const {
    ipcq::RecordsHead h{};
    std::memcpy(&h, bytes_.data(), sizeof h);
    return h;
  }
  void set_head(const ipcq::RecordsHead& h) { std::memcpy(bytes_.data(), &h, sizeof h); }
  std::uint32_t word(std::size_t i) const {
    std::uint32_t w = 0;
    std::memcpy(&w, bytes_.data() + index_at_ + i * sizeof w, sizeof w);
    return w;
  }
  void set_word(std::size_t i, std::uint32_t w) { std::memcpy(bytes_.data() + index_at_ + i * sizeof w, &w, sizeof w); }
  // What record `i` holds; "?" where its words make no sense.
  std::string text(std::uint32_t i) const {
    ipcq::RecordPlace p;
    if (!records().get(i, p)) return "?";
    return {reinterpret_cast<const char*>(bytes_.data()) + p.at, p.length};
  }
  bool is_refused(std::size_t i) const { return (word(i) & ipcq::Records::kRefused) != 0; }

 private:
  void pad() { bytes_.resize(ipcq::Records::aligned(static_cast<std::uint32_t>(bytes_.size()))); }

  std::vector<std::byte> bytes_;
  std::uint32_t index_at_ = 0;
};

}  // namespace ipcq_test
