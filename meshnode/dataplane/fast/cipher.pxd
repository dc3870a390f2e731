"""The ciphers of data packets, by libcrypto: ChaCha20-Poly1305 (RFC 8439; paper 5.4.6),
and AES-256-GCM between two meshnodes.

A context is kept for each session and direction: setting a key costs more than a small
packet. The tag travels as a parameter that is prepared once, for libcrypto's older call
(`EVP_CIPHER_CTX_ctrl`) takes as long as a small packet, too.
"""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memset

from meshnode.dataplane.fast.libc cimport (
    EVP_aes_256_gcm,
    EVP_chacha20_poly1305,
    EVP_CIPHER,
    EVP_CIPHER_CTX,
    EVP_CIPHER_CTX_free,
    EVP_CIPHER_CTX_get_params,
    EVP_CIPHER_CTX_new,
    EVP_DecryptFinal_ex,
    EVP_DecryptInit_ex2,
    EVP_DecryptUpdate,
    EVP_EncryptFinal_ex,
    EVP_EncryptInit_ex2,
    EVP_EncryptUpdate,
    OSSL_CIPHER_PARAM_AEAD_TAG,
    OSSL_PARAM,
    OSSL_PARAM_construct_end,
    OSSL_PARAM_construct_octet_string,
)
from meshnode.dataplane.fast.wire cimport TAG_BYTES, put_little32, put_little64


cdef enum:
    # Types of messages with data, each with its cipher (`types.Cipher`).
    CHACHA20_POLY1305 = 4
    AES_256_GCM = 8


cdef struct Cipher:
    EVP_CIPHER_CTX *context
    OSSL_PARAM tag[2]


cdef inline void _prepare(Cipher *cipher) noexcept nogil:
    cipher.context = EVP_CIPHER_CTX_new()
    cipher.tag[0] = OSSL_PARAM_construct_octet_string(
        OSSL_CIPHER_PARAM_AEAD_TAG, NULL, TAG_BYTES
    )
    cipher.tag[1] = OSSL_PARAM_construct_end()


cdef inline const EVP_CIPHER *_suite(int kind) noexcept nogil:
    return EVP_aes_256_gcm() if kind == AES_256_GCM else EVP_chacha20_poly1305()


cdef inline bint init_sealing(
    Cipher *cipher, int kind, const uint8_t *key
) noexcept nogil:
    """Set the 32 bytes of *key* for messages of type *kind*; False without memory."""
    _prepare(cipher)
    return cipher.context != NULL and EVP_EncryptInit_ex2(
        cipher.context, _suite(kind), key, NULL, NULL
    ) == 1


cdef inline bint init_opening(
    Cipher *cipher, int kind, const uint8_t *key
) noexcept nogil:
    """Set the 32 bytes of *key* for messages of type *kind*; False without memory."""
    _prepare(cipher)
    return cipher.context != NULL and EVP_DecryptInit_ex2(
        cipher.context, _suite(kind), key, NULL, NULL
    ) == 1


cdef inline void release(Cipher *cipher) noexcept nogil:
    """Forget the key."""
    EVP_CIPHER_CTX_free(cipher.context)
    cipher.context = NULL


cdef inline void _set_nonce(uint8_t *nonce, uint64_t counter) noexcept nogil:
    put_little32(nonce, 0)
    put_little64(nonce + 4, counter)


cdef inline bint seal(
    Cipher *cipher, uint64_t counter, const uint8_t *data, int size, uint8_t *out
) noexcept nogil:
    """Write *size* encrypted bytes and the tag to *out*.

    After False there is nothing secret in *out*.
    """
    cdef uint8_t nonce[12]
    cdef int written = 0
    _set_nonce(nonce, counter)
    if EVP_EncryptInit_ex2(cipher.context, NULL, NULL, nonce, NULL) != 1:
        return False
    if size and EVP_EncryptUpdate(cipher.context, out, &written, data, size) != 1:
        return False
    if EVP_EncryptFinal_ex(cipher.context, out + size, &written) != 1:
        return False
    cipher.tag[0].data = out + size
    return EVP_CIPHER_CTX_get_params(cipher.context, cipher.tag) == 1


cdef inline bint open_sealed(
    Cipher *cipher, uint64_t counter, uint8_t *data, int size
) noexcept nogil:
    """Decrypt *size* bytes, the tag at their end included, where they are.

    After False the bytes are not to be used.
    """
    cdef uint8_t nonce[12]
    cdef int written = 0
    cdef int length = size - TAG_BYTES
    _set_nonce(nonce, counter)
    cipher.tag[0].data = data + length
    if EVP_DecryptInit_ex2(cipher.context, NULL, NULL, nonce, cipher.tag) != 1:
        return False
    if length and EVP_DecryptUpdate(
        cipher.context, data, &written, data, length
    ) != 1:
        return False
    return EVP_DecryptFinal_ex(cipher.context, data + length, &written) == 1
