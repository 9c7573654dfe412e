/**
 * The OpenSSL that Node carries and exports, called through koffi: see tls-in-place.ts.
 *
 * Only the functions, as OpenSSL declares them; tls-session.ts is the one user. Undefined where this Node exports none.
 */
import koffi from 'koffi'

export type Openssl = ReturnType<typeof bind>

export const openssl = found()

function found(): Openssl | undefined {
  try {
    return bind()
  } catch {
    return undefined
  }
}

function bind() {
  const node = koffi.load(null)
  // From <openssl/ssl.h>.
  const onVerify = koffi.pointer(koffi.proto('int FluidcloudOnVerify(int good, void *store)'))
  return {
    clientMethod: node.func('const void *TLS_client_method()'),
    serverMethod: node.func('const void *TLS_server_method()'),
    newContext: node.func('void *SSL_CTX_new(const void *method)'),
    freeContext: node.func('void SSL_CTX_free(void *context)'),
    controlContext: node.func('long SSL_CTX_ctrl(void *context, int command, long number, void *pointer)'),
    setOptions: node.func('uint64_t SSL_CTX_set_options(void *context, uint64_t options)'),
    setCipherSuites: node.func('int SSL_CTX_set_ciphersuites(void *context, const char *names)'),
    useCertificate: node.func(
      'int SSL_CTX_use_certificate_ASN1(void *context, int length, const uint8_t *der)',
    ),
    usePrivateKey: node.func(
      'int SSL_CTX_use_PrivateKey_ASN1(int type, void *context, const uint8_t *der, long length)',
    ),
    setVerify: node.func('SSL_CTX_set_verify', 'void', ['void *', 'int', onVerify]),
    setTickets: node.func('int SSL_CTX_set_num_tickets(void *context, size_t count)'),
    newSession: node.func('void *SSL_new(void *context)'),
    freeSession: node.func('void SSL_free(void *session)'),
    controlSession: node.func('long SSL_ctrl(void *session, int command, long number, const char *text)'),
    connectState: node.func('void SSL_set_connect_state(void *session)'),
    acceptState: node.func('void SSL_set_accept_state(void *session)'),
    setBios: node.func('void SSL_set_bio(void *session, void *input, void *output)'),
    setInput: node.func('void SSL_set0_rbio(void *session, void *input)'),
    handshake: node.func('int SSL_do_handshake(void *session)'),
    write: node.func('int SSL_write(void *session, const uint8_t *bytes, int length)'),
    shutdown: node.func('int SSL_shutdown(void *session)'),
    resultOf: node.func('int SSL_get_error(const void *session, int returned)'),
    peerCertificate: node.func('void *SSL_get1_peer_certificate(const void *session)'),
    freeCertificate: node.func('void X509_free(void *certificate)'),
    encodeCertificate: node.func('int i2d_X509_bio(void *into, const void *certificate)'),
    // From <openssl/bio.h> and <openssl/err.h>.
    memory: node.func('const void *BIO_s_mem()'),
    overSession: node.func('const void *BIO_f_ssl()'),
    buffered: node.func('const void *BIO_f_buffer()'),
    pushBio: node.func('void *BIO_push(void *above, void *below)'),
    newBioPair: node.func(
      'int BIO_new_bio_pair(_Out_ void **one, size_t oneBytes, _Out_ void **other, size_t otherBytes)',
    ),
    peekBio: node.func('int BIO_nread0(void *bio, _Out_ void **bytes)'),
    skipBio: node.func('int BIO_nread(void *bio, _Out_ void **bytes, int length)'),
    newBio: node.func('void *BIO_new(const void *type)'),
    freeBio: node.func('int BIO_free(void *bio)'),
    freeBios: node.func('void BIO_free_all(void *above)'),
    bioOver: node.func('void *BIO_new_mem_buf(const uint8_t *bytes, int length)'),
    controlBio: node.func('long BIO_ctrl(void *bio, int command, long number, void *pointer)'),
    readBio: node.func('int BIO_read(void *bio, uint8_t *into, int length)'),
    clearErrors: node.func('void ERR_clear_error()'),
    nextError: node.func('unsigned long ERR_get_error()'),
    errorText: node.func('void ERR_error_string_n(unsigned long error, _Out_ uint8_t *into, size_t length)'),
    onVerify,
  }
}
