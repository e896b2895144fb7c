#include <iostream>

#include "server/daemon/program.h"

int main(int argc, char** argv) {
  return ebb::server::run_ebbd({argv + 1, argv + argc}, std::cout, std::cerr);
}
