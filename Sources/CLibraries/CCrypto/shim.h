// OpenSSL 3.0 allocates on every EVP_DigestInit and EVP_MAC_init. Where a digest is taken per event, the plain SHA functions are used
// instead: same code underneath, state on the caller's stack. They are marked deprecated, which would stop a build without warnings.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <openssl/crypto.h>
