/** What the rest of the coordinator may use of transactions. */
export {
  deleteAllTransactionsIn,
  transactionNotFound,
  Transactions,
  type Recorded,
  type RunRequest,
  type TransactionDetails,
  type TransactionsDeps,
} from './transactions.js';
