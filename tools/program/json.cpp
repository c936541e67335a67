#include "program/json.hpp"

#include <nlohmann/json.hpp>

namespace ipcq::program {

using nlohmann::json;

Json::Json() : value_(std::make_unique<json>()) {}
Json::Json(bool value) : value_(std::make_unique<json>(value)) {}
Json::Json(double value) : value_(std::make_unique<json>(value)) {}
Json::Json(std::string_view text) : value_(std::make_unique<json>(text)) {}
Json::Json(const std::vector<std::string>& texts) : value_(std::make_unique<json>(texts)) {}
Json::Json(std::initializer_list<Member> object) : value_(std::make_unique<json>(json::object())) {
  for (const auto& [key, value] : object) (*value_)[key] = *value.value_;
}

Json Json::array() {
  Json made;
  *made.value_ = json::array();
  return made;
}

Json Json::of_signed(std::int64_t value) {
  Json made;
  *made.value_ = value;
  return made;
}

Json Json::of_unsigned(std::uint64_t value) {
  Json made;
  *made.value_ = value;
  return made;
}

Json::~Json() = default;
Json::Json(const Json& other) : value_(std::make_unique<json>(*other.value_)) {}
Json::Json(Json&& other) noexcept = default;
Json& Json::operator=(Json other) noexcept {
  value_ = std::move(other.value_);
  return *this;
}

void Json::push_back(const Json& element) { value_->push_back(*element.value_); }
void Json::set(const std::string& key, const Json& value) { (*value_)[key] = *value.value_; }
bool Json::empty() const { return value_->empty(); }

std::string Json::text() const { return value_->dump(-1, ' ', false, json::error_handler_t::replace); }

}  // namespace ipcq::program
