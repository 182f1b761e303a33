// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The same, but nothing of errand is used: the object can be unloaded, and forks go well afterwards.
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cstdio>

int main(int, char** arguments) {
  void* const library = ::dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return 1;
  ::dlclose(library);
  pid_t const child = ::fork();
  if (child == 0) ::_exit(3);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 2;
}
