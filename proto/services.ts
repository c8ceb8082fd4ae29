/** The pfs service with hand-written codecs for file bytes, for servers and for our own clients. */
import {
  makeGenericClientConstructor,
  type ChannelCredentials,
  type ChannelOptions,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import { decodeBytesValue, decodePutFileRequest, encodePutFileRequest } from './codec-hot.js';
import { APIService, type APIClient } from './generated/pfs.js';

export const PfsService: typeof APIService = {
  ...APIService,
  putFile: {
    ...APIService.putFile,
    requestSerialize: encodePutFileRequest,
    requestDeserialize: decodePutFileRequest,
  },
  getFile: {
    ...APIService.getFile,
    // Handlers yield messages that `encodeBytesValue` made.
    responseSerialize: (message: Buffer | undefined) => message ?? Buffer.alloc(0),
    responseDeserialize: decodeBytesValue,
  },
};

/** Constructor of pfs clients that use them. */
export const PfsClient = makeGenericClientConstructor(
  PfsService as unknown as ServiceDefinition,
  'pfs.API',
) as unknown as new (
  address: string,
  credentials: ChannelCredentials,
  options?: ChannelOptions,
) => APIClient;
