// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "process/exceptions.hpp"

#include <cxxabi.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <errand/process.hpp>
#include <filesystem>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <typeinfo>

namespace errand::detail {

namespace {

template <class E>
std::exception_ptr made_from_text(std::string const& text) {
  return std::make_exception_ptr(E(text));
}

struct standard_type {
  std::type_info const& type;
  std::exception_ptr (*rebuild)(std::string const& text);
};

// What is thrown as exactly one of these arrives as it was. The order is the wire format: parent and worker are the
// same program, so it may be changed at will.
standard_type const standard_types[] = {
    {typeid(std::logic_error), made_from_text<std::logic_error>},
    {typeid(std::domain_error), made_from_text<std::domain_error>},
    {typeid(std::invalid_argument), made_from_text<std::invalid_argument>},
    {typeid(std::length_error), made_from_text<std::length_error>},
    {typeid(std::out_of_range), made_from_text<std::out_of_range>},
    {typeid(std::runtime_error), made_from_text<std::runtime_error>},
    {typeid(std::range_error), made_from_text<std::range_error>},
    {typeid(std::overflow_error), made_from_text<std::overflow_error>},
    {typeid(std::underflow_error), made_from_text<std::underflow_error>},
    {typeid(std::bad_alloc), [](std::string const&) { return std::make_exception_ptr(std::bad_alloc()); }},
};

// The categories whose error codes mean the same in every process.
std::error_category const* const shared_categories[] = {
    &std::generic_category(),
    &std::system_category(),
};

enum class form : std::uint8_t { standard, system, remote };

class writer {
 public:
  template <class T>
  void number(T value) {
    bytes_.append(reinterpret_cast<char const*>(&value), sizeof value);
  }
  void text(std::string_view value) {
    number(static_cast<std::uint64_t>(value.size()));
    bytes_.append(value);
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class reader {
 public:
  reader(std::byte const* from, std::size_t bytes) : rest_(reinterpret_cast<char const*>(from), bytes) {}
  template <class T>
  T number() {
    T value{};
    if (rest_.size() < sizeof value) return ok_ = false, value;
    std::memcpy(&value, rest_.data(), sizeof value);
    rest_.remove_prefix(sizeof value);
    return value;
  }
  std::string text() {
    auto const size = number<std::uint64_t>();
    if (!ok_ || size > rest_.size()) return ok_ = false, std::string();
    std::string value(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return value;
  }
  bool ok() const { return ok_; }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

std::string readable_name(std::type_info const* type) {
  if (type == nullptr) return "an unknown type";
  int status = 0;
  std::unique_ptr<char, void (*)(void*)> const name(abi::__cxa_demangle(type->name(), nullptr, nullptr, &status),
                                                    std::free);
  return status == 0 ? name.get() : type->name();
}

std::string remote(std::string_view type, std::string_view text) {
  writer w;
  w.number(form::remote);
  w.text(type);
  w.text(text);
  return w.take();
}

// The part of a system_error's text that its constructor would add again.
std::string_view without_suffix(std::string_view text, std::string_view suffix) {
  if (text.ends_with(suffix)) text.remove_suffix(suffix.size());
  if (text.ends_with(": ")) text.remove_suffix(2);
  return text;
}

std::optional<std::uint8_t> shared_category(std::error_code const& code) {
  for (std::size_t i = 0; i < std::size(shared_categories); ++i)
    if (code.category() == *shared_categories[i]) return static_cast<std::uint8_t>(i);
  return std::nullopt;
}

// Of an exception of the user's, whose what() may return nothing.
char const* text_of(std::exception const& e) noexcept {
  char const* const text = e.what();
  return text != nullptr ? text : "";
}

}  // namespace

std::string describe_current_exception() {
  std::type_info const* const type = abi::__cxa_current_exception_type();
  try {
    throw;
  } catch (remote_error const& e) {  // from a worker of this worker
    return remote(e.type_name(), e.what());
  } catch (std::system_error const& e) {
    if (auto const category = shared_category(e.code()); category && typeid(e) == typeid(std::system_error)) {
      writer w;
      w.number(form::system);
      w.number(*category);
      w.number(static_cast<std::int32_t>(e.code().value()));
      w.text(without_suffix(text_of(e), e.code().message()));
      return w.take();
    }
    return remote(readable_name(type), text_of(e));
  } catch (std::exception const& e) {
    for (std::size_t i = 0; i < std::size(standard_types); ++i) {
      if (typeid(e) != standard_types[i].type) continue;
      writer w;
      w.number(form::standard);
      w.number(static_cast<std::uint8_t>(i));
      w.text(e.what());
      return w.take();
    }
    return remote(readable_name(type), text_of(e));
  } catch (...) {
    return remote(readable_name(type), "");
  }
}

std::exception_ptr rebuild_exception(std::byte const* from, std::size_t bytes) {
  reader r(from, bytes);
  switch (r.number<form>()) {
    case form::standard: {
      auto const index = r.number<std::uint8_t>();
      std::string const text = r.text();
      if (r.ok() && index < std::size(standard_types)) return standard_types[index].rebuild(text);
      break;
    }
    case form::system: {
      auto const category = r.number<std::uint8_t>();
      auto const value = r.number<std::int32_t>();
      std::string const text = r.text();
      if (!r.ok() || category >= std::size(shared_categories)) break;
      std::error_code const code(value, *shared_categories[category]);
      return std::make_exception_ptr(text.empty() ? std::system_error(code) : std::system_error(code, text));
    }
    case form::remote: {
      std::string const type = r.text();
      std::string const text = r.text();
      if (r.ok()) return std::make_exception_ptr(remote_error(type, text));
      break;
    }
  }
  return std::make_exception_ptr(
      remote_error("an unknown type", "a worker process threw, but its message was overwritten"));
}

}  // namespace errand::detail
